// One backend as a row of its table. Made once, then patched.

import { cssColour } from "./colours.js";
import { attribute, el, setText } from "./dom.js";
import { count, latency, percent } from "./format.js";

export class BackendRow {
  /// `api::Backend` as drawn last.
  backend = null;
  #cells = {};
  #buttons = {};

  constructor(service, name, { actions, colours }) {
    const colour = cssColour(colours.of(name));
    const cell = (key, label, ...inner) => {
      const isFigure = ["weight", "active", "total", "share", "latency"].includes(key);
      const element = el("td", { role: "cell", class: `${key}${isFigure ? " figure" : ""}`, "data-label": label }, ...inner);
      this.#cells[key] = element;
      return element;
    };
    this.#cells.word = el("span", { class: "state" });
    this.#cells.percent = el("span");
    this.#cells.bar = el("span", { style: { "background-color": colour } });
    this.#cells.backup = el("span", { class: "tag", text: "backup", hidden: true });
    const swatch = el("span", { class: "swatch", "aria-hidden": "true", style: { "background-color": colour } });
    const button = el("button", { type: "button", class: "name", "data-card": "", title: name, text: name });
    const act = (key, act) => {
      const made = el("button", { type: "button", "data-act": key, on: { click: () => act(this.backend) } });
      this.#buttons[key] = made;
      return made;
    };
    this.element = el(
      "tr",
      { role: "row", "data-backend": name },
      cell("status", "State", this.#cells.word),
      el("th", { scope: "row", role: "rowheader", class: "backend" }, el("span", { class: "named" }, swatch, button, this.#cells.backup)),
      cell("address", "Address"),
      cell("weight", "Weight"),
      cell("active", "Open"),
      cell("total", "In all"),
      cell("share", "Share", el("span", { class: "bar", "aria-hidden": "true" }, this.#cells.bar), this.#cells.percent),
      cell("latency", "Latency"),
      cell("error", "Last error"),
      el(
        "td",
        { role: "cell", class: "act buttons" },
        act("state", (backend) => (isResting(backend) ? actions.resume(service, backend) : actions.drain(service, backend))),
        act("weight", (backend) => actions.weight(service, backend)),
        act("remove", (backend) => actions.remove(service, backend)),
      ),
    );
  }

  /// `total`: connections of all backends of the service.
  draw(backend, total) {
    const isNew = this.backend === null;
    this.backend = backend;
    const { connections, health } = backend;
    setText(this.#cells.word, backend.state);
    attribute(this.#cells.word, "data-state", backend.state);
    this.#cells.backup.hidden = !backend.backup;
    setText(this.#cells.address, backend.address);
    setText(this.#cells.weight, count(backend.weight));
    setText(this.#cells.active, count(connections.active));
    setText(this.#cells.total, count(connections.total));
    const share = total > 0 ? connections.total / total : null;
    setText(this.#cells.percent, percent(share));
    const width = `${((share ?? 0) * 100).toFixed(1)}%`;
    if (this.#cells.bar.style.width !== width) this.#cells.bar.style.width = width;
    setText(this.#cells.latency, latency(health.latency_seconds));
    const error = health.last_error ?? "";
    setText(this.#cells.error, error);
    attribute(this.#cells.error, "title", error || null);
    this.#drawButtons(backend, isNew);
  }

  #drawButtons(backend, isNew) {
    const { state, weight, remove } = this.#buttons;
    const word = isResting(backend) ? "Resume" : "Drain";
    setText(state, word);
    attribute(state, "aria-label", `${word} ${backend.name}`);
    if (!isNew) return;
    setText(weight, "Weight");
    attribute(weight, "aria-label", `Change the weight of ${backend.name}`);
    setText(remove, "Remove");
    attribute(remove, "aria-label", `Remove ${backend.name}`);
  }
}

/// Taken out by the operator.
const isResting = ({ state }) => state === "draining" || state === "maintenance";
