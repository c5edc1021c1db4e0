// A backend's colour: the same on every page and at every time, by its name.
//
// Eight colours, each in a form for light and one for dark ground. Found by search for the greatest distance (0.10 in OKLab, the
// least of any two) to normal eyes and with protanopia, deuteranopia and tritanopia (Machado 2009), at a contrast of at least 3:1
// (WCAG 1.4.11) with both grounds. Beyond eight in a service, patterns tell the same colours apart.

const PALETTE = [
  ["#3d4e94", "#98a7f9"],
  ["#a95e28", "#ef743b"],
  ["#088776", "#4ed4ac"],
  ["#844cd4", "#8671e6"],
  ["#e154b0", "#c678ae"],
  ["#059be6", "#b1dffb"],
  ["#a79300", "#f5d741"],
  ["#762300", "#a46554"],
];
const PATTERNS = ["", "/", "."];
const DASHES = ["solid", "dash", "dot"];
const SLOTS = PALETTE.length * PATTERNS.length;

/// What is left when the largest have a colour of their own.
export const OTHERS = { light: "#7d8894", dark: "#8b97a4", pattern: "", dash: "solid" };

/// FNV-1a, 32 bits (http://www.isthe.com/chongo/tech/comp/fnv/), over the UTF-16 units.
function hash(text) {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) {
    value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  }
  return value >>> 0;
}

/// The colours of one service. Who comes first keeps its place; names come in the order of the API, which is that of the file.
export class Colours {
  #slots = new Map();
  #taken = new Set();

  /// `{light, dark, pattern, dash}`.
  of(name) {
    let slot = this.#slots.get(name);
    if (slot === undefined) {
      slot = this.#free(hash(name) % PALETTE.length);
      this.#slots.set(name, slot);
      this.#taken.add(slot);
    }
    const [light, dark] = PALETTE[slot % PALETTE.length];
    const round = Math.floor(slot / PALETTE.length);
    return { light, dark, pattern: PATTERNS[round], dash: DASHES[round] };
  }

  /// The first free one from the wanted on: all colours are used up before a pattern is.
  #free(wanted) {
    for (let round = 0; round < PATTERNS.length; round += 1) {
      for (let step = 0; step < PALETTE.length; step += 1) {
        const slot = round * PALETTE.length + ((wanted + step) % PALETTE.length);
        if (!this.#taken.has(slot)) return slot;
      }
    }
    return wanted % SLOTS;
  }
}

/// For a style property: follows the theme by itself.
export const cssColour = (colour) => `light-dark(${colour.light}, ${colour.dark})`;

/// Whether the page is dark now.
export function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
