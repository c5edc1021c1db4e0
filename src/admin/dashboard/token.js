// Asks for the token, where lb wants one. It is kept as long as the tab (sessionStorage), and sent to lb only.

import { el } from "./dom.js";

export class TokenDialog {
  #keep;
  #asked = null;

  constructor(keep) {
    this.#keep = keep;
  }

  /// Resolves when there is a token to try. `message` says what was wrong with the last one.
  ask(message) {
    this.#asked ??= new Promise((done) => this.#open(message, done));
    return this.#asked;
  }

  #open(message, done) {
    const input = el("input", { type: "password", id: "token", name: "token", autocomplete: "off", required: true, spellcheck: "false" });
    const form = el(
      "form",
      {},
      el("h2", { text: "This balancer asks for a token", id: "token-title" }),
      el("p", { text: "One of the lines of its token_file, without the role before the colon. It is forgotten when this tab is closed." }),
      message ? el("p", { class: "problem", role: "alert", text: message }) : null,
      el("label", { for: "token", text: "Token" }),
      input,
      el("div", { class: "buttons" }, el("button", { type: "submit", class: "primary", text: "Continue" })),
    );
    const dialog = el("dialog", { "aria-labelledby": "token-title" }, form);
    // Without a token there is nothing to see behind it.
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    // Escape, pressed twice, closes it all the same.
    dialog.addEventListener("close", () => dialog.isConnected && this.#asked && dialog.showModal());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#asked = null;
      this.#keep(input.value.trim());
      dialog.close();
      dialog.remove();
      done();
    });
    document.body.append(dialog);
    dialog.showModal();
  }
}
