// What is known of lb: the last status, kept up by samples, and the half hour behind it. Tells those who listen that something changed.

import { Series } from "./series.js";

const CHANGES_MAX = 50;
/// Of looks that are closer, the second tells nothing but noise.
const CLOSE_MILLISECONDS = 1000;
/// Errors are news for so long.
const NEWS_MILLISECONDS = 60_000;

export class Store {
  /// `api::Status`, or `null` before the first.
  status = null;
  /// `{connections, bytes, toBackend, toClient}` a second; `null` where two looks don't tell.
  rates = null;
  /// Connections that failed or were refused in the last minute.
  newErrors = 0;
  series = new Series();
  /// The last things that happened, newest last: `{key, time, text, state}`.
  changes = [];
  #listeners = new Set();
  #before = null;
  #errors = [];
  #changeNumber = 0;

  /// Calls `act` after every change.
  onChange(act) {
    this.#listeners.add(act);
  }

  /// A new status. `isAlone`: no samples come, so it is one too, taken at `now` (milliseconds).
  takeStatus(status, isAlone, now) {
    const before = this.status;
    this.status = status;
    if (isAlone) {
      if (before) this.#compare(before, status, now);
      this.#takeFigures(now, status);
      this.series.add(now, status.services);
    }
    this.#tell();
  }

  /// `api::Sample`. Says whether the next status is due: it speaks of other backends than the last one did.
  takeSample(sample) {
    const time = Date.parse(sample.time);
    this.series.add(time, sample.services);
    if (!this.status) return true;
    this.#takeFigures(time, sample);
    this.status.connections = sample.connections;
    const known = new Map(this.status.services.map((service) => [service.name, service]));
    let isOther = known.size !== sample.services.length;
    for (const told of sample.services) {
      const service = known.get(told.name);
      if (!service) isOther = true;
      else isOther = mergeService(service, told) || isOther;
    }
    this.#tell();
    return isOther;
  }

  /// `api::History`, once after every (re)connection.
  takeHistory(history) {
    this.series.load(history);
    this.#tell();
  }

  /// `api::BackendEvent`.
  takeBackendEvent(event) {
    const service = this.status?.services.find(({ name }) => name === event.service);
    const backend = service?.backends.find(({ name }) => name === event.backend);
    if (backend && event.state) backend.state = event.state;
    const state = event.state ?? "gone";
    this.note(Date.parse(event.time), `${event.backend} of ${event.service}`, state, event.reason);
  }

  /// Something that happened, for people: what, the word for how it is now, why.
  note(time, what, state, reason) {
    this.#changeNumber += 1;
    this.changes.push({ key: this.#changeNumber, time, what, state, reason });
    this.changes.splice(0, this.changes.length - CHANGES_MAX);
    this.#tell();
  }

  /// Between two looks that aren't of the same run of lb, nothing is counted.
  forgetRates() {
    this.rates = null;
    this.#before = null;
    this.#errors = [];
    this.#tell();
  }

  #takeFigures(time, told) {
    const now = { time, connections: told.connections.total, toBackend: 0, toClient: 0 };
    for (const { bytes } of told.services) {
      now.toBackend += bytes.to_backend;
      now.toClient += bytes.to_client;
    }
    const before = this.#before;
    if (before && !(now.time >= before.time + CLOSE_MILLISECONDS)) return;
    this.#before = now;
    const seconds = before ? (now.time - before.time) / 1000 : 0;
    const of = (name) => (seconds > 0 && now[name] >= before[name] ? (now[name] - before[name]) / seconds : null);
    const [toBackend, toClient] = [of("toBackend"), of("toClient")];
    const bytes = toBackend === null || toClient === null ? null : toBackend + toClient;
    const errors = told.services.reduce((sum, { connections }) => sum + connections.failed, told.connections.refused);
    this.#errors = [...this.#errors.filter((old) => time - old.time <= NEWS_MILLISECONDS), { time, errors }];
    this.newErrors = Math.max(0, errors - this.#errors[0].errors);
    this.rates = { connections: of("connections"), bytes, toBackend, toClient };
  }

  /// Without events, what changed is found by looking.
  #compare(before, status, now) {
    const key = (service, backend) => JSON.stringify([service.name, backend.name]);
    const states = new Map();
    for (const service of before.services) {
      for (const backend of service.backends) states.set(key(service, backend), { service, backend });
    }
    for (const service of status.services) {
      for (const backend of service.backends) {
        const was = states.get(key(service, backend));
        states.delete(key(service, backend));
        if (was?.backend.state === backend.state) continue;
        const reason = backend.state === "down" ? (backend.health.last_error ?? "") : "";
        this.note(now, `${backend.name} of ${service.name}`, backend.state, reason);
      }
    }
    for (const { service, backend } of states.values()) this.note(now, `${backend.name} of ${service.name}`, "gone", "");
  }

  #tell() {
    for (const act of this.#listeners) act();
  }
}

function mergeService(service, told) {
  service.connections = told.connections;
  service.bytes = told.bytes;
  const known = new Map(service.backends.map((backend) => [backend.name, backend]));
  let isOther = known.size !== told.backends.length;
  for (const sample of told.backends) {
    const backend = known.get(sample.name);
    if (!backend) {
      isOther = true;
      continue;
    }
    backend.state = sample.state;
    backend.connections = sample.connections;
    backend.bytes = sample.bytes;
    backend.health.latency_seconds = sample.latency_seconds;
  }
  return isOther;
}
