// The head line: is lb there, what is it doing, and the figures of all services together.

import { byId, setText } from "./dom.js";
import { bytes, clock, count, counted, rate, span } from "./format.js";

const LINKS = { connecting: "connecting …", live: "live", polling: "live, asked every 2 s", gone: "gone", locked: "a token is needed" };

export class Head {
  #state = byId("state");
  #about = byId("about");
  #link = byId("link");
  #banner = byId("banner");
  #readOnly = byId("read-only");

  draw(store, live, role) {
    const { status } = store;
    document.body.dataset.phase = live.phase;
    setText(this.#link, LINKS[live.phase]);
    this.#readOnly.hidden = role !== "read";
    this.#drawBanner(live, status);
    this.#drawState(live, status);
    if (!status) return;
    setText(this.#about, `version ${status.version} · up ${span(status.uptime_seconds + sinceAnswer(live))}`);
    this.#drawTiles(status, store);
    document.title = title(live, status);
  }

  #drawState(live, status) {
    const state = live.phase === "gone" ? "gone" : (status?.state ?? "connecting");
    setText(this.#state, state);
    this.#state.dataset.state = state;
  }

  #drawBanner(live, status) {
    let text = "";
    if (live.phase === "gone") {
      const since = live.answeredAt === null ? "" : ` It answered last at ${clock(live.answeredAt)}; the figures below are of then.`;
      const what = live.reason ? `lb doesn't say how it is: ${live.reason}.` : "lb doesn't answer.";
      text = `${what}${since} This page asks again every 2 seconds and recovers by itself.`;
    } else if (status?.state === "draining") {
      text = "lb is draining: it takes no new connection, and stops when those it has are done.";
    }
    // It is an alert: said once, not each second.
    setText(this.#banner, text);
    this.#banner.hidden = text === "";
  }

  #drawTiles(status, { rates, newErrors }) {
    const { connections, services } = status;
    const failed = services.reduce((sum, service) => sum + service.connections.failed, 0);
    const put = (id, text) => setText(byId(id), text);
    put("active", count(connections.active));
    put("total", `${count(connections.total)} in all`);
    put("connection-rate", rate(rates?.connections));
    put("workers", counted(status.workers, "worker"));
    put("byte-rate", bytes(rates?.bytes));
    put("byte-rates", rates?.bytes === undefined || rates?.bytes === null ? "" : `${bytes(rates.toClient)} to clients`);
    put("errors", count(failed + connections.refused));
    const news = newErrors > 0 ? ` · ${count(newErrors)} in the last minute` : "";
    put("error-kinds", `${count(failed)} failed · ${count(connections.refused)} refused${news}`);
    byId("errors").dataset.bad = newErrors > 0 ? "yes" : "";
  }
}

/// The uptime goes on between two answers, while there are some.
function sinceAnswer(live) {
  return live.phase === "gone" || live.answeredAt === null ? 0 : (Date.now() - live.answeredAt) / 1000;
}

function title(live, status) {
  if (live.phase === "gone") return "lb: gone";
  const down = status.services.flatMap(({ backends }) => backends).filter(({ state }) => state === "down").length;
  return down > 0 ? `lb: ${down} down` : `lb: ${status.state}`;
}
