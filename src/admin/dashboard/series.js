// The last half hour of every backend: what history told, and the samples since. Columns as in the API, `null` where a backend wasn't.

const POINTS_MAX = 901;
/// Between two points further apart nothing is known.
const GAP_MILLISECONDS = 30_000;
/// Of points that are closer, the second tells nothing but noise.
const CLOSE_MILLISECONDS = 1000;

export class Series {
  /// Milliseconds, rising.
  times = [];
  /// service -> backend -> {total: [], up: []}.
  #services = new Map();

  /// Begins anew with what `api::History` tells; samples that are newer stay.
  load(history) {
    const older = this.times;
    const before = this.#services;
    this.times = history.times.map((time) => Date.parse(time));
    this.#services = new Map();
    const length = this.times.length;
    for (const [service, told] of Object.entries(history.services)) {
      const backends = new Map();
      for (const [name, columns] of Object.entries(told.backends)) {
        backends.set(name, { total: fitted(columns.total, length), up: fitted(columns.up, length) });
      }
      this.#services.set(service, backends);
    }
    const last = (this.times.at(-1) ?? -Infinity) + CLOSE_MILLISECONDS;
    older.forEach((time, at) => {
      if (time >= last) this.#copy(time, before, at);
    });
    this.#trim();
  }

  /// Takes a sample, `services` as in `api::Sample`. Says whether it is newer than what is there.
  add(time, services) {
    if (!(time >= (this.times.at(-1) ?? -Infinity) + CLOSE_MILLISECONDS)) return false;
    const length = this.times.length;
    this.times.push(time);
    for (const service of services) {
      for (const backend of service.backends) {
        const columns = this.#columns(service.name, backend.name, length);
        columns.total[length] = backend.connections.total;
        columns.up[length] = backend.state === "up" || backend.state === "starting";
      }
    }
    this.#level();
    this.#trim();
    return true;
  }

  /// Connections a second at each of the last `points` points, `null` where it can't be known.
  rates(service, backend, points) {
    const total = this.#services.get(service)?.get(backend)?.total ?? [];
    const rates = [];
    for (let at = Math.max(0, this.times.length - points); at < this.times.length; at += 1) {
      rates.push(this.#rate(total, at, at - 1));
    }
    return rates;
  }

  /// Whether it was up at each of the last `points` points.
  ups(service, backend, points) {
    const up = this.#services.get(service)?.get(backend)?.up;
    const from = Math.max(0, this.times.length - points);
    return this.times.slice(from).map((_, at) => up?.[from + at] ?? null);
  }

  /// All the time in pieces of so many points: `{times, rates(service, backend)}`, each the mean over its piece.
  pieces(points) {
    const ends = [];
    for (let at = this.times.length - 1; at > 0; at -= points) ends.unshift(at);
    return {
      times: ends.map((at) => this.times[at]),
      rates: (service, backend) => {
        const total = this.#services.get(service)?.get(backend)?.total ?? [];
        return ends.map((at) => this.#meanRate(total, at, Math.max(0, at - points)));
      },
    };
  }

  #rate(total, at, before) {
    const [now, then] = [total[at] ?? null, total[before] ?? null];
    const milliseconds = this.times[at] - this.times[before];
    // A figure that falls began anew: another backend has the name.
    if (now === null || then === null || now < then || !(milliseconds > 0) || milliseconds > GAP_MILLISECONDS) return null;
    return ((now - then) * 1000) / milliseconds;
  }

  /// The mean from `before` to `at`; steps that can't be known count nothing.
  #meanRate(total, at, before) {
    let connections = 0;
    let milliseconds = 0;
    for (let step = before + 1; step <= at; step += 1) {
      const rate = this.#rate(total, step, step - 1);
      if (rate === null) continue;
      const passed = this.times[step] - this.times[step - 1];
      connections += (rate * passed) / 1000;
      milliseconds += passed;
    }
    return milliseconds > 0 ? (connections * 1000) / milliseconds : null;
  }

  #columns(service, backend, length) {
    let backends = this.#services.get(service);
    if (!backends) this.#services.set(service, (backends = new Map()));
    let columns = backends.get(backend);
    if (!columns) backends.set(backend, (columns = { total: fitted([], length), up: fitted([], length) }));
    return columns;
  }

  /// Takes over a point of an older series.
  #copy(time, before, at) {
    const length = this.times.length;
    this.times.push(time);
    for (const [service, backends] of before) {
      for (const [name, old] of backends) {
        const columns = this.#columns(service, name, length);
        columns.total[length] = old.total[at] ?? null;
        columns.up[length] = old.up[at] ?? null;
      }
    }
    this.#level();
  }

  /// Columns of those that weren't in the last sample are as long as the others.
  #level() {
    const length = this.times.length;
    this.#each((columns) => {
      for (const column of [columns.total, columns.up]) if (column.length < length) column.push(null);
    });
  }

  #trim() {
    const most = this.times.length - POINTS_MAX;
    if (most <= 0) return;
    this.times.splice(0, most);
    this.#each((columns, name, backends) => {
      columns.total.splice(0, most);
      columns.up.splice(0, most);
      if (columns.total.every((total) => total === null)) backends.delete(name);
    });
  }

  #each(act) {
    for (const backends of this.#services.values()) {
      for (const [name, columns] of backends) act(columns, name, backends);
    }
  }
}

function fitted(column, length) {
  const fit = Array.isArray(column) ? column.slice(0, length) : [];
  while (fit.length < length) fit.push(null);
  return fit;
}
