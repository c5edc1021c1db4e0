// What an operator does to backends, each asked for once more in a dialog before it is done. lb says no by its own words.

import { ApiError, backendPath, backendsPath } from "./api.js";
import { el } from "./dom.js";
import { counted } from "./format.js";

/// As in lb.toml.
const NAME = "[A-Za-z0-9._\\-]{1,64}";
const WEIGHT_MAX = 256;

export class Actions {
  #api;
  #store;
  #onDone;

  constructor(api, store, onDone) {
    this.#api = api;
    this.#store = store;
    this.#onDone = onDone;
  }

  drain(service, backend) {
    const open = backend.connections.active;
    const theirs = open > 0 ? ` The ${counted(open, "open one")} ${open === 1 ? "lives" : "live"} on until ${open === 1 ? "it ends" : "they end"}.` : "";
    this.#ask({
      title: `Drain ${backend.name}?`,
      text: `It gets no new connection.${theirs}`,
      warning: this.#warning(service, backend),
      verb: "Drain",
      act: () => this.#patch(service, backend, { state: "draining" }),
    });
  }

  resume(service, backend) {
    this.#ask({
      title: `Resume ${backend.name}?`,
      text: "It gets new connections again, as soon as its checks say that it is up.",
      verb: "Resume",
      act: () => this.#patch(service, backend, { state: "active" }),
    });
  }

  weight(service, backend) {
    this.#ask({
      title: `Weight of ${backend.name}`,
      text: `It gets connections in proportion to its weight, from 0 (no new connection) to ${WEIGHT_MAX}.`,
      fields: [{ name: "weight", label: "Weight", type: "number", min: 0, max: WEIGHT_MAX, step: 1, required: true, value: backend.weight }],
      verb: "Change weight",
      act: ({ weight }) => this.#patch(service, backend, { weight: Number(weight) }),
    });
  }

  remove(service, backend) {
    const hint = "Such as 30s or 5m; 0s ends them at once.";
    this.#ask({
      title: `Remove ${backend.name}?`,
      text: `${backend.address} leaves ${service}. Its ${counted(backend.connections.active, "open connection")} may go on for a while first.`,
      warning: this.#warning(service, backend),
      fields: [{ name: "drain", label: "Open connections may go on for", type: "text", required: true, value: "30s", hint }],
      verb: "Remove",
      isDanger: true,
      act: ({ drain }) => this.#api.change("DELETE", `${backendPath(service, backend.name)}?drain=${encodeURIComponent(drain.trim())}`),
    });
  }

  add(service) {
    this.#ask({
      title: `Add a backend to ${service}`,
      text: "It takes connections as soon as it is added. It is not written to lb.toml.",
      fields: [
        { name: "name", label: "Name", type: "text", required: true, pattern: NAME, hint: "1 to 64 of A–Z a–z 0–9 . _ -", value: "" },
        { name: "address", label: "Address", type: "text", required: true, hint: "An IP address and a port: 127.0.0.1:9004", value: "" },
        { name: "weight", label: "Weight", type: "number", min: 0, max: WEIGHT_MAX, step: 1, required: true, value: 1 },
        { name: "backup", label: "Backup: used only while no other is up", type: "checkbox" },
      ],
      verb: "Add",
      act: ({ name, address, weight, backup }) =>
        this.#api.change("POST", backendsPath(service), {
          name: name.trim(),
          address: address.trim(),
          weight: Number(weight),
          backup: backup === "on",
        }),
    });
  }

  #patch(service, backend, change) {
    return this.#api.change("PATCH", backendPath(service, backend.name), change);
  }

  /// Whether the service would stand without a backend.
  #warning(service, backend) {
    const backends = this.#store.status?.services.find(({ name }) => name === service)?.backends ?? [];
    const others = backends.filter(({ name, state, weight }) => name !== backend.name && weight > 0 && (state === "up" || state === "starting"));
    return others.length === 0 ? `No other backend of ${service} is up: new connections will fail.` : "";
  }

  #ask(question) {
    const dialog = new Question(question, (error) => this.#explain(error), () => this.#onDone());
    dialog.open();
  }

  #explain(error) {
    if (!(error instanceof ApiError)) return "lb doesn't answer. Whether it was done will show when it does.";
    if (error.status === 401) {
      this.#onDone(); // the next look asks for the token
      return "The token isn't valid any more.";
    }
    return error.status === 403 ? `This token may only read: ${error.message}` : error.message;
  }
}

/// A dialog with a question, fields and two answers. Closed, it is gone.
class Question {
  #question;
  #explain;
  #onDone;
  #problem = el("p", { class: "problem", role: "alert" });
  #dialog;
  #confirm;

  constructor(question, explain, onDone) {
    this.#question = question;
    this.#explain = explain;
    this.#onDone = onDone;
    const { title, text, warning, fields = [], verb, isDanger } = question;
    this.#confirm = el("button", { type: "submit", class: isDanger ? "primary danger" : "primary", text: verb });
    const cancel = el("button", { type: "button", text: "Cancel", on: { click: () => this.#dialog.close() } });
    const form = el(
      "form",
      {},
      el("h2", { text: title, id: "question-title" }),
      el("p", { text }),
      warning ? el("p", { class: "warning", text: warning }) : null,
      ...fields.map(field),
      this.#problem,
      el("div", { class: "buttons" }, cancel, this.#confirm),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#act(Object.fromEntries(new FormData(form)));
    });
    this.#dialog = el("dialog", { "aria-labelledby": "question-title" }, form);
    this.#dialog.addEventListener("close", () => this.#dialog.remove());
  }

  open() {
    document.body.append(this.#dialog);
    this.#dialog.showModal();
    if (!this.#question.fields) this.#confirm.focus();
  }

  async #act(values) {
    this.#confirm.disabled = true;
    this.#problem.textContent = "";
    try {
      await this.#question.act(values);
      this.#dialog.close();
      this.#onDone();
    } catch (error) {
      this.#problem.textContent = this.#explain(error);
    } finally {
      this.#confirm.disabled = false;
    }
  }
}

function field({ name, label, hint, ...attributes }) {
  const id = `field-${name}`;
  const input = el("input", { id, name, autocomplete: "off", spellcheck: "false", "aria-describedby": hint ? `${id}-hint` : null, ...attributes });
  const said = el("label", { for: id, text: label });
  const help = hint ? el("p", { class: "quiet", id: `${id}-hint`, text: hint }) : null;
  return el("div", { class: attributes.type === "checkbox" ? "field is-check" : "field" }, said, input, help);
}
