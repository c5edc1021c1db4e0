// The picture of a service whose replicas follow the load, and a line in words beside it. There where the API tells of scaling.

import { Plot } from "./charts.js";
import { isDark } from "./colours.js";
import { attribute, el, setText } from "./dom.js";
import { count, counted } from "./format.js";
import { ScalingSeries, outlook, scalingTraces } from "./scaling.js";

export class ScalingChart {
  #name;
  #series = new ScalingSeries();
  #plot = new Plot("scaling-plot");
  #facts = el("span", { class: "quiet" });
  element;

  constructor(name) {
    this.#name = name;
    this.element = el(
      "figure",
      { class: "scaling" },
      el("figcaption", {}, el("span", { text: "Connections and replicas" }), this.#facts),
      this.#plot.element,
    );
  }

  /// `scaling`: `api::Scaling`, as it was at a time in milliseconds.
  draw(scaling, time) {
    const before = this.#series.points.at(-1)?.time;
    this.#series.add(time, scaling);
    const { target_connections: target, min, max, wanted, ready, connections, prediction } = scaling;
    setText(this.#facts, `${count(min)} to ${count(max)} replicas of ${counted(target, "connection")}; forecast: ${outlook(prediction)}`);
    attribute(
      this.#plot.element,
      "aria-label",
      `${counted(connections, "live connection")} of ${this.#name}, ${counted(ready, "replica")} ready, ${count(wanted)} wanted, over time, and what is expected`,
    );
    if (this.#series.points.at(-1)?.time !== before) this.#plot.draw(() => scalingTraces(this.#series, isDark()));
  }

  redraw() {
    this.#plot.draw();
  }

  end() {
    this.#plot.end();
    this.element.remove();
  }
}
