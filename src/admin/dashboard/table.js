// The backends of a service as a table: sorted, filtered, and patched row by row.
//
// Rows don't move under the pointer or the focus: while either is in the table, the order rests.

import { BackendRow } from "./row.js";
import { arrange, attribute, el, setText } from "./dom.js";
import { count } from "./format.js";

/// From here on the table scrolls in itself, and can be filtered.
const LONG_ROWS = 13;

/// A thousand rows take a browser seconds to sort.
const SHOWN_MAX = 200;

const STATES = ["down", "starting", "draining", "maintenance", "up"];

/// Title, and what it sorts by; figures begin with the largest, words with the first.
const COLUMNS = [
  { title: "State", key: "state", by: ({ state }) => STATES.indexOf(state) },
  { title: "Backend", key: "name", by: ({ name }) => name },
  { title: "Address", key: "address", by: ({ address }) => address },
  { title: "Weight", key: "weight", isFigure: true, by: ({ weight }) => weight },
  { title: "Open", key: "active", isFigure: true, by: ({ connections }) => connections.active },
  { title: "In all", key: "total", isFigure: true, by: ({ connections }) => connections.total },
  { title: "Share", key: "share", isFigure: true, by: ({ connections }) => connections.total },
  { title: "Latency", key: "latency", isFigure: true, by: ({ health }) => health.latency_seconds ?? -1, hint: "of the last good check" },
  { title: "Last error", key: "error", by: ({ health }) => health.last_error ?? "" },
];

const collator = new Intl.Collator("en", { numeric: true });

export class BackendTable {
  #rows = new Map();
  #order = [];
  #sort = null;
  #isSortDue = false;
  #service = null;
  #serviceName;
  #parts;
  #heads = new Map();
  #body = el("tbody", { role: "rowgroup" });
  #filter;
  #found = el("span", { class: "quiet", role: "status" });
  #filterLine;
  #scroll;

  /// `parts`: actions, card, colours and `onFocusLost`, called when the row that had the focus is gone.
  constructor(serviceName, parts) {
    this.#serviceName = serviceName;
    this.#parts = parts;
    this.#filter = el("input", { type: "search", "aria-label": `Filter the backends of ${serviceName}`, placeholder: "Filter by name, address or state" });
    this.#filter.addEventListener("input", () => this.#draw());
    this.#filterLine = el("div", { class: "filter", hidden: true }, this.#filter, this.#found);
    const heads = COLUMNS.map((column) => this.#head(column));
    heads.push(el("th", { scope: "col", role: "columnheader", class: "act" }, el("span", { class: "hidden", text: "Actions" })));
    const table = el(
      "table",
      { role: "table" },
      el("caption", { class: "hidden", text: `Backends of ${serviceName}` }),
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)),
      this.#body,
    );
    this.#scroll = el("div", { class: "wide", role: "region", tabindex: "0", "aria-label": `Backends of ${serviceName}` }, table);
    this.#body.addEventListener("pointerleave", () => this.#draw());
    // Later: the focus may leave because a row is being removed, in the middle of a drawing.
    this.#body.addEventListener("focusout", (event) => this.#body.contains(event.relatedTarget) || setTimeout(() => this.#draw()));
    parts.card.attach(this.#body, (row) => this.#shownBy(row));
    this.element = el("div", {}, this.#filterLine, this.#scroll);
  }

  draw(service) {
    this.#service = service;
    this.#draw();
  }

  #head(column) {
    const button = el("button", { type: "button", title: column.hint ?? null }, column.title);
    const head = el("th", { scope: "col", role: "columnheader", class: column.isFigure ? "figure" : "", "aria-sort": "none" }, button);
    button.addEventListener("click", () => this.#sortBy(column));
    this.#heads.set(column, head);
    return head;
  }

  /// The other way round at the second press, as in the file again at the third.
  #sortBy(column) {
    const first = column.isFigure ? -1 : 1;
    if (this.#sort?.column !== column) this.#sort = { column, way: first };
    else this.#sort = this.#sort.way === first ? { column, way: -first } : null;
    for (const [other, head] of this.#heads) {
      const way = this.#sort?.column === other ? this.#sort.way : 0;
      attribute(head, "aria-sort", ["descending", "none", "ascending"][way + 1]);
    }
    this.#isSortDue = true;
    this.#draw();
  }

  #draw() {
    const service = this.#service;
    if (!service) return;
    const { backends } = service;
    const hadFocus = this.#body.contains(document.activeElement);
    this.#filterLine.hidden = backends.length < LONG_ROWS;
    this.#scroll.classList.toggle("is-long", backends.length >= LONG_ROWS);
    const shown = this.#chosen(this.#ordered(backends));
    const total = backends.reduce((sum, { connections }) => sum + connections.total, 0);
    const rows = new Map();
    for (const backend of shown) {
      const row = this.#rows.get(backend.name) ?? new BackendRow(this.#serviceName, backend.name, this.#parts);
      rows.set(backend.name, row);
      row.draw(backend, total);
    }
    this.#rows = rows;
    const none = backends.length > 0 ? "No backend matches." : "No backend yet.";
    arrange(this.#body, rows.size > 0 ? [...rows.values()].map(({ element }) => element) : [emptyRow(none)]);
    if (hadFocus && !this.#body.contains(document.activeElement)) this.#parts.onFocusLost();
  }

  /// All backends in their order, as sorted, or as they stand while that rests.
  #ordered(backends) {
    const isResting = this.#body.matches(":hover") || this.#body.contains(document.activeElement);
    let ordered = this.#sorted(backends);
    if (isResting && !this.#isSortDue) {
      const places = new Map(this.#order.map((name, at) => [name, at]));
      const place = ({ name }) => places.get(name) ?? Infinity;
      // A stable sort: new ones stand last, in their own order.
      ordered = ordered.sort((one, other) => (place(one) === place(other) ? 0 : place(one) - place(other)));
    }
    this.#isSortDue = false;
    this.#order = ordered.map(({ name }) => name);
    return ordered;
  }

  /// Those that the filter leaves, as many as a table can show and still be quick.
  #chosen(backends) {
    const sought = this.#filterLine.hidden ? "" : this.#filter.value.trim().toLowerCase();
    const found = backends.filter(({ name, address, state }) => `${name} ${address} ${state}`.toLowerCase().includes(sought));
    const shown = found.slice(0, SHOWN_MAX);
    const more = found.length > shown.length ? `; the first ${count(shown.length)} are shown` : "";
    setText(this.#found, sought || more ? `${count(found.length)} of ${count(backends.length)}${more}` : "");
    return shown;
  }

  #sorted(backends) {
    if (!this.#sort) return [...backends];
    const { column, way } = this.#sort;
    const compare = (one, other) => {
      const [a, b] = [column.by(one), column.by(other)];
      return way * (typeof a === "string" ? collator.compare(a, b) : a - b);
    };
    return [...backends].sort(compare);
  }

  /// What the card tells of a row: `{service, backend}`.
  #shownBy(element) {
    for (const row of this.#rows.values()) {
      if (row.element === element) return { service: this.#service, backend: row.backend };
    }
    return null;
  }
}

const emptyRow = (text) => el("tr", { role: "row", class: "none" }, el("td", { role: "cell", colspan: COLUMNS.length + 1, text }));
