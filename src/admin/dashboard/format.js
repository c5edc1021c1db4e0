// Figures as people read them. No state, no DOM.

const NONE = "–";
/// Between a figure and its unit: no line ends there.
const SPACE = "\u00a0";
const integers = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/// `1234567` as `1,234,567`.
export const count = (number) => (isNumber(number) ? integers.format(number) : NONE);

const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });

/// For narrow places: `1.23M`.
export const short = (number) => (isNumber(number) ? (number < 1e6 ? integers : compact).format(number) : NONE);

/// So many of a thing: `1 connection`, `2 connections`.
export const counted = (number, thing) => `${count(number)} ${thing}${number === 1 ? "" : "s"}`;

/// A number a second: a tenth counts while it is small.
export const rate = (number) => (isNumber(number) ? (number < 100 ? tenths : integers).format(number) : NONE);

/// Of a share between 0 and 1.
export const percent = (share) => (isNumber(share) ? `${(share * 100).toFixed(1)}${SPACE}%` : NONE);

/// Bytes in binary units.
export function bytes(number) {
  if (!isNumber(number)) return NONE;
  let value = number;
  for (const unit of ["B", "KiB", "MiB", "GiB", "TiB"]) {
    if (value < 1024 || unit === "TiB") return `${(value < 100 && unit !== "B" ? tenths : integers).format(value)}${SPACE}${unit}`;
    value /= 1024;
  }
  return NONE;
}

/// Three digits that count.
const significant = (value) => (value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : value.toFixed(0));

/// A latency in seconds.
export function latency(seconds) {
  if (!isNumber(seconds)) return NONE;
  if (seconds < 0.9995e-3) return `${significant(seconds * 1e6)}${SPACE}µs`;
  return seconds < 0.9995 ? `${significant(seconds * 1e3)}${SPACE}ms` : `${significant(seconds)}${SPACE}s`;
}

/// A span of seconds, in its two largest units.
export function span(seconds) {
  if (!isNumber(seconds)) return NONE;
  let rest = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const number = Math.floor(rest / size);
    rest -= number * size;
    if (number > 0 || (unit === "s" && parts.length === 0)) parts.push(`${number}${SPACE}${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/// How long before `now` (milliseconds) an RFC 3339 time was.
export function ago(time, now) {
  const at = Date.parse(time ?? "");
  if (!Number.isFinite(at)) return NONE;
  return now - at < 1000 ? "now" : `${span((now - at) / 1000)} ago`;
}

const pad = (number) => String(number).padStart(2, "0");

/// The time of day here, of milliseconds.
export function clock(at) {
  const date = new Date(at);
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

/// Milliseconds as plotly wants a date: it knows no time zones, so the time is told as it is here.
export function plotDate(at) {
  const date = new Date(at);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${clock(at)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/// A text that plotly shows as it is: it would take some HTML for its own. And short: a picture has no place for more.
export function plotText(text) {
  const short = text.length > 28 ? `${text.slice(0, 27)}…` : text;
  return short.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("$", "＄");
}

/// `round_robin` as `round robin`.
export const words = (text) => text.replaceAll("_", " ");
