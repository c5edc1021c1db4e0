// The card of a backend: everything about it, while the pointer or the focus is on its row. There is one, moved about.

import { attribute, byId, el, setText } from "./dom.js";
import { ago, bytes, count, latency, rate, span } from "./format.js";

const DELAY_MILLISECONDS = 150;
/// To the window's edge, and to the row.
const MARGIN = 8;

const ORIGINS = { config: "lb.toml", api: "the API", managed: "kept alive by lb", discovery: "discovery" };

/// Who brought it, and how often lb has started it again.
function origin(service, { name, origin }) {
  const restarts = service.replicas?.replicas.find((replica) => replica.name === name)?.restarts ?? 0;
  const again = restarts > 0 ? `, ${count(restarts)} ${restarts === 1 ? "restart" : "restarts"}` : "";
  return `${ORIGINS[origin] ?? String(origin)}${again}`;
}

export class Card {
  #card = byId("card");
  #title = el("h3");
  #values = new Map();
  #list = el("dl");
  #row = null;
  #told = null;
  #pointerX = 0;
  #timer = 0;
  #now;

  constructor(now) {
    this.#now = now;
    this.#card.append(this.#title, this.#list);
    document.addEventListener("keydown", ({ key }) => key === "Escape" && this.#hide());
    addEventListener("scroll", () => this.#place(), { passive: true, capture: true });
    addEventListener("resize", () => this.#place());
  }

  /// Shows the card for the rows of `body`; `told(row)` says what it is about: `{service, backend}`.
  attach(body, told) {
    const rowOf = ({ target }) => target.closest("tr[data-backend]");
    body.addEventListener("pointerover", (event) => {
      if (event.pointerType !== "mouse") return;
      const isAction = event.target.closest(".act") !== null;
      if (isAction) this.#hide();
      else this.#soon(rowOf(event), told, event.clientX);
    });
    body.addEventListener("pointerleave", () => this.#hide());
    body.addEventListener("focusin", (event) => {
      if (event.target.matches(":focus-visible")) this.#show(rowOf(event), told, null);
    });
    body.addEventListener("focusout", () => this.#hide());
    // For fingers: they neither hover nor focus.
    body.addEventListener("click", (event) => {
      if (!event.target.closest("[data-card]")) return;
      if (this.#row === rowOf(event) && event.pointerType !== "mouse") this.#hide();
      else this.#show(rowOf(event), told, null);
    });
  }

  /// Brings the figures up to date.
  draw() {
    if (!this.#row) return;
    if (!this.#row.isConnected) {
      this.#hide();
      return;
    }
    const told = this.#told(this.#row);
    if (told) this.#fill(told);
  }

  #soon(row, told, x) {
    this.#pointerX = x;
    if (!row || row === this.#row) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#show(row, told, this.#pointerX), this.#row ? 0 : DELAY_MILLISECONDS);
  }

  #show(row, told, x) {
    clearTimeout(this.#timer);
    if (!row) return;
    this.#describe(false);
    this.#row = row;
    this.#told = told;
    this.#pointerX = x ?? row.querySelector("[data-card]").getBoundingClientRect().left;
    this.#card.hidden = false;
    this.draw();
    this.#describe(true);
    this.#place();
  }

  #hide() {
    clearTimeout(this.#timer);
    this.#describe(false);
    this.#row = null;
    this.#card.hidden = true;
  }

  #describe(isShown) {
    const button = this.#row?.querySelector("[data-card]");
    if (button) attribute(button, "aria-describedby", isShown ? "card" : null);
  }

  /// Below the row if there is room, else above; never outside the window.
  #place() {
    if (!this.#row) return;
    const row = this.#row.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.#card;
    const below = row.bottom + MARGIN;
    const top = below + height <= innerHeight - MARGIN ? below : row.top - MARGIN - height;
    const clamped = (at, size, whole) => Math.max(MARGIN, Math.min(at, whole - size - MARGIN));
    this.#card.style.left = `${clamped(this.#pointerX + MARGIN, width, document.documentElement.clientWidth)}px`;
    this.#card.style.top = `${clamped(top, height, innerHeight)}px`;
  }

  #fill({ service, backend }) {
    setText(this.#title, backend.name);
    for (const [label, value] of facts(service, backend, this.#now())) {
      let cell = this.#values.get(label);
      if (!cell) {
        cell = el("dd");
        this.#values.set(label, cell);
        this.#list.append(el("div", {}, el("dt", { text: label }), cell));
      }
      setText(cell, value);
    }
  }
}

function facts(service, backend, now) {
  const { health, connections, process } = backend;
  const since = health.since ? `, checks say ${health.status} for ${span((now - Date.parse(health.since)) / 1000)}` : "";
  const cpu = process?.cpu_percent ?? null;
  return [
    ["State", `${backend.state}${since}`],
    ["Address", `${backend.address}${backend.backup ? ", backup" : ""}`],
    ["CPU", cpu === null ? "not known" : `${rate(cpu)} % of a core`],
    ["Memory", process?.memory_bytes == null ? "not known" : bytes(process.memory_bytes)],
    ["Up for", process?.uptime_seconds == null ? "not known" : span(process.uptime_seconds)],
    ["Latency", latency(health.latency_seconds)],
    ["Connections", `${count(connections.active)} open, ${count(connections.total)} in all, ${count(connections.failed)} failed`],
    ["Bytes", `${bytes(backend.bytes.to_backend)} to it, ${bytes(backend.bytes.to_client)} to clients`],
    ["Last check", health.last_check ? ago(health.last_check, now) : "none"],
    ["Last error", health.last_error ?? "none"],
    ["Origin", origin(service, backend)],
    ["Service", service.name],
  ];
}
