// Keeps the store true: a status every few seconds, and between them the stream of events. Knows whether lb answers.
//
// Two loops. `#look` asks for the status, and alone says whether lb is there. `#follow` holds the stream while lb is there; without it,
// `#look` asks as often as samples would have come.

import { ApiError, Unreachable } from "./api.js";
import { events } from "./sse.js";

const STATUS_WITH_STREAM_MILLISECONDS = 4000;
const STATUS_ALONE_MILLISECONDS = 2000;
const STATUS_SOON_MILLISECONDS = 200;
const HISTORY_MILLISECONDS = 20_000;
const STREAM_AGAIN_MILLISECONDS = 3000;
/// A sample comes each 2 s: a stream that is silent for longer is dead, whatever TCP says.
const SILENCE_MILLISECONDS = 7000;

export class Live {
  /// `connecting`, `live` (by events), `polling` (by looks), `gone` or `locked` (a token is needed).
  phase = "connecting";
  /// Why it is gone.
  reason = "";
  /// When lb answered last, milliseconds.
  answeredAt = null;
  #api;
  #store;
  #onPhase;
  #askForToken;
  #isStreaming = false;
  /// No stream can be had: looks stand for samples.
  #isAlone = false;
  #hasHistory = false;
  #isDue = false;
  #heardAt = 0;
  #lookSoon = () => {};
  #whenThere = new Signal();
  #pid = null;

  constructor(api, store, onPhase, askForToken) {
    this.#api = api;
    this.#store = store;
    this.#onPhase = onPhase;
    this.#askForToken = askForToken;
  }

  /// Runs as long as the page.
  start() {
    this.#forEver(() => this.#look());
    this.#forEver(() => this.#follow());
  }

  /// Something changed: looks at once.
  nudge() {
    this.#isDue = true;
    this.#lookSoon();
  }

  /// lb's time now, milliseconds.
  now() {
    return Date.now() + this.#api.clockAhead;
  }

  async #forEver(turn) {
    for (;;) {
      try {
        await turn();
      } catch (error) {
        console.error(error); // a fault of this page: the next turn may do better
        await new Promise((done) => setTimeout(done, STATUS_ALONE_MILLISECONDS));
      }
    }
  }

  async #look() {
    this.#isDue = false;
    try {
      const status = await this.#api.get("/api/v1/status");
      await this.#takeStatus(status);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return this.#unlock(error.message);
      if (!(error instanceof ApiError || error instanceof Unreachable)) throw error;
      const isHeard = this.#isStreaming && Date.now() - this.#heardAt < STATUS_WITH_STREAM_MILLISECONDS;
      // While samples come, one look that fails says nothing.
      if (!isHeard) this.#lose(error instanceof ApiError ? error.message : "");
    }
    const usual = this.#isStreaming ? STATUS_WITH_STREAM_MILLISECONDS : STATUS_ALONE_MILLISECONDS;
    // What was asked for while this look was under way may be newer than its answer.
    const span = this.#isDue ? STATUS_SOON_MILLISECONDS : usual;
    await new Promise((done) => {
      const timer = setTimeout(done, span);
      this.#lookSoon = () => {
        clearTimeout(timer);
        done();
      };
    });
  }

  async #takeStatus(status) {
    const isOtherRun = this.#pid !== null && this.#pid !== status.pid;
    this.#pid = status.pid;
    this.answeredAt = Date.now();
    if (isOtherRun) {
      this.#store.forgetRates();
      this.#store.note(this.now(), "lb", "started anew", `process ${status.pid}`);
    }
    this.#store.takeStatus(status, this.#isAlone, this.now());
    this.#say(this.#isStreaming ? "live" : this.#isAlone ? "polling" : "connecting");
    this.#whenThere.raise();
  }

  async #loadHistory() {
    try {
      this.#store.takeHistory(await this.#api.get("/api/v1/history?minutes=30", HISTORY_MILLISECONDS));
      this.#hasHistory = true;
    } catch (error) {
      if (!(error instanceof ApiError || error instanceof Unreachable)) throw error;
      // The pictures begin with the next sample then.
    }
  }

  #lose(reason) {
    this.reason = reason;
    this.#hasHistory = false;
    this.#whenThere.lower();
    this.#say("gone");
    this.#store.forgetRates();
  }

  async #unlock(message) {
    this.#whenThere.lower();
    const isWrong = this.#api.token !== "";
    this.#say("locked");
    await this.#askForToken(isWrong ? message : "");
  }

  async #follow() {
    await this.#whenThere.wait();
    const abort = new AbortController();
    let watch = 0;
    const listen = () => {
      this.#heardAt = Date.now();
      clearTimeout(watch);
      watch = setTimeout(() => abort.abort(), SILENCE_MILLISECONDS);
    };
    try {
      const body = await this.#api.stream("/api/v1/events", abort);
      listen();
      this.#isStreaming = true;
      this.#isAlone = false;
      this.#say("live");
      // The stream stands first: between the two nothing is missed.
      const loaded = this.#loadHistory();
      for await (const event of events(body)) {
        listen();
        if (event) this.#take(event);
      }
      await loaded;
    } catch (error) {
      const isExpected = abort.signal.aborted || error instanceof ApiError || error instanceof Unreachable;
      // A stream that breaks off is a TypeError of the reader's.
      if (!isExpected && !(error instanceof TypeError)) throw error;
    } finally {
      clearTimeout(watch);
      abort.abort();
      if (this.#isStreaming) this.nudge();
      this.#isStreaming = false;
      this.#isAlone = true;
    }
    if (!this.#hasHistory && this.#whenThere.isRaised) await this.#loadHistory();
    await new Promise((done) => setTimeout(done, STREAM_AGAIN_MILLISECONDS));
  }

  #take({ event, data }) {
    let told;
    try {
      told = JSON.parse(data);
    } catch {
      return; // half a line of a balancer that was just killed
    }
    if (event === "sample") {
      if (this.#store.takeSample(told)) this.nudge();
    } else if (event === "backend") {
      this.#store.takeBackendEvent(told);
      this.nudge();
    } else if (event === "config") {
      this.#store.note(Date.parse(told.time), "configuration", "reloaded", told.changes.join("; "));
      this.nudge();
    }
  }

  #say(phase) {
    if (this.phase === "gone" && phase === "live" && !this.#whenThere.isRaised) return; // the status will say so
    this.phase = phase;
    this.#onPhase();
  }
}

/// Something that is so, or isn't yet.
class Signal {
  isRaised = false;
  #waiting = [];

  raise() {
    this.isRaised = true;
    for (const done of this.#waiting.splice(0)) done();
  }

  lower() {
    this.isRaised = false;
  }

  wait() {
    return this.isRaised ? Promise.resolve() : new Promise((done) => this.#waiting.push(done));
  }
}
