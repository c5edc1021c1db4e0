// The two pictures of a service, and their legend. Drawn while they are seen; plotly is fetched when the first is.

import { OTHERS, cssColour, isDark } from "./colours.js";
import { arrange, attribute, el, setText } from "./dom.js";
import { count, percent } from "./format.js";
import { chosen, halfHour, minute, share } from "./traces.js";

const CONFIG = { displayModeBar: false, displaylogo: false, doubleClick: false, scrollZoom: false, showTips: false, typesetMath: false, responsive: false };

let loading = null;

/// Plotly, once: 4.6 MB that the figures don't wait for.
function plotly() {
  loading ??= new Promise((done, fail) => {
    const script = el("script", { src: "/assets/plotly.js", async: true });
    script.addEventListener("load", () => (globalThis.Plotly ? done(globalThis.Plotly) : fail(new Error("the script of the pictures is empty"))));
    script.addEventListener("error", () => {
      loading = null; // the next picture may have more luck
      script.remove();
      fail(new Error("the script of the pictures can't be fetched"));
    });
    document.head.append(script);
  });
  return loading;
}

/// A place where plotly draws: only while it is seen, and never two drawings at once.
export class Plot {
  element = el("div", { class: "plot", role: "img" });
  #make;
  #isSeen = false;
  #isBusy = false;
  #isDue = false;
  #watcher = new IntersectionObserver((entries) => {
    this.#isSeen = entries.at(-1).isIntersecting;
    if (this.#isSeen && this.#isDue) this.draw();
  });
  #sizer = new ResizeObserver(() => this.#make && this.draw());

  constructor(className) {
    this.element.classList.add(className);
    this.#watcher.observe(this.element);
    this.#sizer.observe(this.element);
  }

  /// Draws what `make()` gives: `{data, layout}`; by default what was drawn last.
  async draw(make = this.#make) {
    this.#make = make;
    this.#isDue = true;
    if (!this.#isSeen || this.#isBusy || !make) return;
    this.#isBusy = true;
    try {
      const library = await plotly();
      this.#isDue = false;
      const { data, layout } = this.#make();
      const { clientWidth: width, clientHeight: height } = this.element;
      if (width > 0 && height > 0) await library.react(this.element, data, { ...layout, width, height }, CONFIG);
    } catch (error) {
      if (!globalThis.Plotly) setText(this.element, `No picture: ${error.message}.`);
      else throw error;
    } finally {
      this.#isBusy = false;
    }
  }

  end() {
    this.#watcher.disconnect();
    this.#sizer.disconnect();
    globalThis.Plotly?.purge(this.element);
  }
}

export class ServiceCharts {
  #name;
  #colours;
  #share = new Plot("share-plot");
  #time = new Plot("time-plot");
  #few = el("span");
  #legend = el("ul", { class: "legend" });
  #items = new Map();
  #views = new Map();
  #view = "minute";
  #drawn = null;

  constructor(name, colours) {
    this.#name = name;
    this.#colours = colours;
    const view = (key, text) => {
      const button = el("button", { type: "button", "aria-pressed": String(key === this.#view), text, on: { click: () => this.#show(key) } });
      this.#views.set(key, button);
      return button;
    };
    this.element = el(
      "div",
      { class: "charts" },
      el(
        "figure",
        { class: "share-figure" },
        el("figcaption", { text: "Share of connections" }),
        el("div", { class: "share-body" }, this.#share.element, this.#legend),
      ),
      el(
        "figure",
        {},
        el(
          "figcaption",
          {},
          el("span", { text: "Connections a second" }, this.#few),
          el("span", { class: "switch", role: "group", "aria-label": "Span of time" }, view("minute", "1 minute"), view("halfHour", "30 minutes")),
        ),
        this.#time.element,
      ),
    );
  }

  draw(service, series) {
    const { backends } = service;
    const figures = `${series.times.at(-1)} ${backends.map(({ name, connections }) => `${name} ${connections.total}`).join(" ")}`;
    if (this.#drawn?.figures === figures) return;
    this.#drawn = { figures, service, series };
    const parts = this.#parts(backends);
    this.#drawLegend(parts);
    this.#share.draw(() => share(parts, isDark()));
    this.#drawTime(parts);
  }

  redraw() {
    this.#share.draw();
    this.#time.draw();
  }

  end() {
    this.#share.end();
    this.#time.end();
  }

  #show(key) {
    this.#view = key;
    for (const [other, button] of this.#views) attribute(button, "aria-pressed", String(other === key));
    if (this.#drawn) this.#drawTime(this.#parts(this.#drawn.service.backends));
  }

  #drawTime(parts) {
    const { series } = this.#drawn;
    const view = this.#view === "minute" ? minute : halfHour;
    const isFew = this.#view === "minute" && parts.some(({ name }) => name === null);
    setText(this.#few, isFew ? `, the ${parts.length - 1} with most` : "");
    const what = this.#view === "minute" ? "and up or down, in the last minute" : "in the last 30 minutes";
    attribute(this.#time.element, "aria-label", `Connections a second of each backend of ${this.#name} ${what}`);
    this.#time.draw(() => view(parts, series, this.#name, isDark()));
  }

  /// Who is in the pictures: `{name, label, names, total, colour}`; `name` is `null` for the others.
  #parts(backends) {
    const { shown, others } = chosen(backends);
    const parts = shown.map(({ name, connections }) => ({ name, label: name, names: [name], total: connections.total, colour: this.#colours.of(name) }));
    if (others.length > 0) {
      const total = others.reduce((sum, { connections }) => sum + connections.total, 0);
      parts.push({ name: null, label: `${count(others.length)} others`, names: others.map(({ name }) => name), total, colour: OTHERS });
    }
    return parts;
  }

  #drawLegend(parts) {
    const total = parts.reduce((sum, part) => sum + part.total, 0);
    const items = new Map();
    // The others first: they are most, and the list may be longer than its place.
    for (const part of [...parts].sort((one, other) => Number(other.name === null) - Number(one.name === null))) {
      const item = this.#items.get(part.name) ?? legendItem(part);
      items.set(part.name, item);
      setText(item.name, part.label);
      setText(item.share, percent(total > 0 ? part.total / total : null));
    }
    this.#items = items;
    arrange(this.#legend, [...items.values()].map(({ element }) => element));
    attribute(this.#share.element, "aria-label", `Share of the connections of ${this.#name} by backend; the list beside it has the figures`);
  }
}

function legendItem({ label, colour }) {
  const name = el("span", { class: "legend-name", title: label });
  const share = el("span", { class: "figure" });
  const swatch = el("span", { class: `swatch${colour.pattern === "/" ? " striped" : colour.pattern === "." ? " dotted" : ""}`, "aria-hidden": "true" });
  swatch.style.setProperty("background-color", cssColour(colour));
  return { element: el("li", {}, swatch, name, share), name, share };
}
