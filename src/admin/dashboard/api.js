// The admin API: one place that fetches. Knows the token and learns from the answers what it may do.

const TOKEN = "lb.token";
/// An answer that takes longer isn't coming.
const TIMEOUT_MILLISECONDS = 5000;

/// lb answered, but not with what was asked for.
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/// Nobody answered.
export class Unreachable extends Error {}

export class Api {
  /// `operate`, `read`, or `null` while nothing is known.
  role = null;
  /// How far the clock of lb is ahead of this one, milliseconds, to the second.
  clockAhead = 0;
  #onRole;

  constructor(onRole) {
    this.#onRole = onRole;
  }

  get token() {
    return sessionStorage.getItem(TOKEN) ?? "";
  }

  set token(token) {
    if (token) sessionStorage.setItem(TOKEN, token);
    else sessionStorage.removeItem(TOKEN);
  }

  /// The JSON at `path`.
  async get(path, timeout = TIMEOUT_MILLISECONDS) {
    return (await this.#ask("GET", path, undefined, timeout)).json;
  }

  /// Changes something: `{status, json}`.
  change(method, path, body) {
    return this.#ask(method, path, body);
  }

  /// An answer that goes on, to be read by the caller; `abort` ends it.
  async stream(path, abort) {
    const timer = setTimeout(() => abort.abort(), TIMEOUT_MILLISECONDS);
    try {
      const response = await this.#fetch(path, { headers: this.#headers("text/event-stream"), signal: abort.signal });
      if (!response.ok) throw await problem(response);
      return response.body;
    } finally {
      clearTimeout(timer);
    }
  }

  async #ask(method, path, body, timeout = TIMEOUT_MILLISECONDS) {
    const headers = this.#headers("application/json");
    if (body !== undefined) headers.set("Content-Type", "application/json");
    const response = await this.#fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(timeout),
    });
    if (!response.ok) throw await problem(response);
    try {
      return { status: response.status, json: await response.json() };
    } catch (error) {
      throw new Unreachable(`the answer broke off: ${error.message}`);
    }
  }

  #headers(accept) {
    const headers = new Headers({ Accept: accept });
    if (this.token) headers.set("Authorization", `Bearer ${this.token}`);
    return headers;
  }

  async #fetch(path, options) {
    let response;
    try {
      response = await fetch(path, { cache: "no-store", credentials: "omit", redirect: "error", ...options });
    } catch (error) {
      throw new Unreachable(error.message);
    }
    this.#learn(response, options.method ?? "GET");
    return response;
  }

  #learn(response, method) {
    const date = Date.parse(response.headers.get("Date") ?? "");
    // A second is all that header tells: less than two is no difference.
    if (Number.isFinite(date)) this.clockAhead = Math.abs(date - Date.now()) < 2000 ? 0 : date - Date.now();
    let role = response.headers.get("Lb-Role");
    if (role !== "read" && role !== "operate") {
      // It didn't say: then what it refuses tells.
      role = response.status === 403 && method !== "GET" ? "read" : (this.role ?? (response.ok ? "operate" : null));
    }
    if (role !== this.role) {
      this.role = role;
      this.#onRole(role);
    }
  }
}

/// The path below a service; names are no part of an address until they are encoded.
export const backendsPath = (service) => `/api/v1/services/${encodeURIComponent(service)}/backends`;
export const backendPath = (service, backend) => `${backendsPath(service)}/${encodeURIComponent(backend)}`;

async function problem(response) {
  try {
    const { error } = await response.json();
    return new ApiError(response.status, String(error.code), String(error.message));
  } catch {
    return new ApiError(response.status, "unknown", `lb answered ${response.status}`);
  }
}
