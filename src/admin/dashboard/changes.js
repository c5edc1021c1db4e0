// What happened since the page was opened. A log for eyes and, politely, for ears: the only part that speaks by itself.

import { arrange, byId, el } from "./dom.js";
import { clock, plotDate } from "./format.js";

const SHOWN_MAX = 12;

export class Changes {
  #list = byId("changes");
  #none = byId("no-changes");
  #items = new Map();

  draw({ changes }) {
    const shown = changes.slice(-SHOWN_MAX).reverse();
    this.#none.hidden = shown.length > 0;
    const items = new Map(shown.map((change) => [change.key, this.#items.get(change.key) ?? item(change)]));
    this.#items = items;
    arrange(this.#list, [...items.values()]);
  }
}

function item({ time, what, state, reason }) {
  return el(
    "li",
    {},
    el("time", { datetime: plotDate(time), text: clock(time) }),
    " ",
    el("span", { class: "state", "data-state": state, text: state }),
    " ",
    el("strong", { text: what }),
    reason ? el("span", { class: "quiet", text: `: ${reason}` }) : null,
  );
}
