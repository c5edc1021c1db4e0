// A section for each service: its heading, its table, its two pictures.

import { BackendTable } from "./table.js";
import { Colours } from "./colours.js";
import { ScalingChart } from "./scaling-chart.js";
import { ServiceCharts } from "./charts.js";
import { arrange, byId, el, setText } from "./dom.js";
import { count, words } from "./format.js";

export class Services {
  #root = byId("services");
  #sections = new Map();
  #parts;
  #none = el("p", { class: "panel quiet", text: "No service is configured: add a [[service]] to lb.toml." });

  /// `parts`: the actions and the card, which all sections share.
  constructor(parts) {
    this.#parts = parts;
  }

  draw(store) {
    if (!store.status) return;
    const sections = new Map();
    for (const service of store.status.services) {
      const section = this.#sections.get(service.name) ?? new ServiceSection(service.name, this.#parts);
      sections.set(service.name, section);
      section.draw(service, store.series);
    }
    for (const [name, section] of this.#sections) if (!sections.has(name)) section.end();
    this.#sections = sections;
    const elements = [...sections.values()].map(({ element }) => element);
    arrange(this.#root, elements.length > 0 ? elements : [this.#none]);
  }

  /// The theme changed.
  redrawCharts() {
    for (const section of this.#sections.values()) section.redrawCharts();
  }
}

class ServiceSection {
  #facts = el("p", { class: "facts" });
  #ups = el("span", { class: "ups" });
  #table;
  #charts;
  #scaling = null;
  #name;

  constructor(name, { actions, card }) {
    const colours = new Colours();
    const heading = el("h2", { text: name, title: name, tabindex: "-1" });
    this.#table = new BackendTable(name, { actions, card, colours, onFocusLost: () => heading.focus() });
    this.#charts = new ServiceCharts(name, colours);
    this.#name = name;
    const add = el("button", { type: "button", class: "act", text: "Add backend", on: { click: () => actions.add(name) } });
    this.element = el(
      "section",
      { class: "panel service", "aria-label": `Service ${name}`, "data-service": name },
      el("div", { class: "service-head" }, heading, this.#ups, this.#facts, add),
      this.#table.element,
      this.#charts.element,
    );
  }

  draw(service, series) {
    const up = service.backends.filter(({ state }) => state === "up" || state === "starting").length;
    setText(this.#ups, `${count(up)} of ${count(service.backends.length)} up`);
    this.#ups.dataset.state = up === service.backends.length && up > 0 ? "up" : up > 0 ? "draining" : "down";
    const { active, failed, refused } = service.connections;
    const errors = [failed > 0 ? `${count(failed)} failed` : "", refused > 0 ? `${count(refused)} refused` : ""];
    const kept = service.replicas;
    const restarts = kept?.replicas.reduce((sum, replica) => sum + replica.restarts, 0) ?? 0;
    const replicas = kept ? `${count(kept.running)} of ${count(kept.wanted)} replicas` : "";
    const again = restarts > 0 ? `${count(restarts)} ${restarts === 1 ? "restart" : "restarts"}` : "";
    const facts = [service.listen.join(", "), words(service.balance), replicas, again, `${count(active)} open`, ...errors];
    setText(this.#facts, facts.filter(Boolean).join(" · "));
    this.#table.draw(service);
    this.#charts.draw(service, series);
    this.#drawScaling(kept?.scaling, series.times.at(-1) ?? Date.now());
  }

  /// Where replicas follow the load; a reload may bring that, or take it away.
  #drawScaling(scaling, time) {
    if (scaling && !this.#scaling) {
      this.#scaling = new ScalingChart(this.#name);
      this.element.append(this.#scaling.element);
    } else if (!scaling && this.#scaling) {
      this.#scaling?.end();
      this.#scaling = null;
    }
    this.#scaling?.draw(scaling, time);
  }

  redrawCharts() {
    this.#charts.redraw();
    this.#scaling?.redraw();
  }

  end() {
    this.#charts.end();
    this.#scaling.end();
  }
}
