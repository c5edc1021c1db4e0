// What plotly is to draw: figures in, traces and layout out. No DOM, no plotly here.
//
// Names reach plotly by `plotText` only: it takes HTML in its texts for its own.

import { count, percent, plotDate, plotText, rate, short } from "./format.js";

/// So many backends have a colour of their own in the pictures; the rest are "others".
export const SHOWN_MAX = 20;
/// Points of the short view: a minute.
const MINUTE_POINTS = 30;
/// Samples to a point of the long view: 10 s.
const PIECE_POINTS = 5;
const MINUTE_MILLISECONDS = 60_000;
const HALF_HOUR_MILLISECONDS = 1_800_000;
/// Above so many lines, one hover label for all would be longer than the picture.
const UNIFIED_MAX = 8;

export const THEMES = {
  light: { text: "#46535f", strong: "#17202a", grid: "#e3e8ed", ground: "#ffffff", label: "#ffffff", edge: "#c3ccd5" },
  dark: { text: "#a5b1bd", strong: "#e6ecf2", grid: "#2a3440", ground: "#161d26", label: "#212b36", edge: "#45525f" },
};

/// The largest by connections, in the order of the service; and the rest.
export function chosen(backends) {
  if (backends.length <= SHOWN_MAX) return { shown: backends, others: [] };
  const largest = [...backends].sort((one, other) => other.connections.total - one.connections.total);
  const kept = new Set(largest.slice(0, SHOWN_MAX));
  return { shown: backends.filter((backend) => kept.has(backend)), others: largest.slice(SHOWN_MAX) };
}

/// The doughnut. `parts`: `{name, total, colour}` each.
export function share(parts, isDark) {
  const theme = isDark ? "dark" : "light";
  const { text, strong, grid, ground } = THEMES[theme];
  const total = parts.reduce((sum, part) => sum + part.total, 0);
  const some = parts.filter((part) => part.total > 0);
  const trace = {
    type: "pie",
    hole: 0.66,
    sort: false,
    direction: "clockwise",
    textinfo: "none",
    // Labels that are equal would be one slice: so they are numbers.
    labels: some.map((_, at) => String(at)),
    values: some.map((part) => part.total),
    text: some.map((part) => plotText(part.label)),
    customdata: some.map((part) => [count(part.total), percent(part.total / total)]),
    hovertemplate: "%{text}<br>%{customdata[0]} connections, %{customdata[1]}<extra></extra>",
    marker: {
      colors: some.map((part) => part.colour[theme]),
      line: { color: ground, width: some.length > 1 ? 2 : 0 },
      pattern: { shape: some.map((part) => part.colour.pattern), fillmode: "overlay", fgcolor: ground, size: 6, solidity: 0.35 },
    },
  };
  const nothing = { type: "pie", hole: 0.66, labels: [""], values: [1], textinfo: "none", hoverinfo: "skip", marker: { colors: [grid] } };
  const annotation = (said, y, size, color) => ({ text: said, x: 0.5, y, showarrow: false, font: { size, color } });
  const layout = {
    ...common(theme),
    margin: { l: 6, r: 6, t: 6, b: 6 },
    annotations: [annotation(short(total), 0.55, 17, strong), annotation("connections", 0.4, 11, text)],
  };
  return { data: [some.length > 0 ? trace : nothing], layout };
}

/// The last minute: connections a second by the left axis, up or down by the right one, in a band of its own above.
export function minute(parts, series, service, isDark) {
  const theme = isDark ? "dark" : "light";
  const times = series.times.slice(-MINUTE_POINTS).map(plotDate);
  // The sum of all others would flatten each line.
  const lanes = parts.filter((part) => part.name !== null);
  const data = lanes.map((part) => {
    const rates = series.rates(service, part.name, MINUTE_POINTS);
    const ups = series.ups(service, part.name, MINUTE_POINTS);
    return {
      ...line(part, theme, times, rates),
      customdata: rates.map((value, at) => `${rate(value)}/s${ups[at] === false ? ", down" : ""}`),
    };
  });
  lanes.forEach((part, lane) => {
    const ups = series.ups(service, part.name, MINUTE_POINTS);
    // Lines that are equal would hide each other: each stands a little lower than the one before.
    const lower = lanes.length > 1 ? (lane / (lanes.length - 1)) * 0.3 : 0;
    data.push({
      ...line(part, theme, times, ups.map((up) => (up === null ? null : (up ? 1 : 0.15) - lower * (up ? 1 : 0.5)))),
      yaxis: "y2",
      hoverinfo: "skip",
      hovertemplate: undefined,
      line: { color: part.colour[theme], width: 1.5, dash: part.colour.dash, shape: "hv" },
    });
  });
  const layout = timeLayout(theme, series.times.at(-1), MINUTE_MILLISECONDS, parts.length);
  layout.xaxis.tickformat = "%H:%M:%S";
  layout.yaxis.domain = [0, 0.74];
  layout.yaxis2 = {
    ...axis(theme),
    side: "right",
    domain: [0.82, 1],
    range: [-0.12, 1.12],
    tickvals: [0.08, 0.85],
    ticktext: ["down", "up"],
    showgrid: false,
  };
  return { data, layout };
}

/// The last half hour: connections a second, one backend on the other.
export function halfHour(parts, series, service, isDark) {
  const theme = isDark ? "dark" : "light";
  const pieces = series.pieces(PIECE_POINTS);
  const times = pieces.times.map(plotDate);
  const data = parts.map((part) => {
    const rates = sum(part.names.map((name) => pieces.rates(service, name)));
    return {
      ...line(part, theme, times, rates.map((value) => value ?? 0)),
      customdata: rates.map((value) => `${rate(value)}/s`),
      stackgroup: "all",
      line: { color: part.colour[theme], width: 0.8 },
      fillcolor: part.colour[theme],
      fillpattern: { shape: part.colour.pattern, fillmode: "overlay", fgcolor: THEMES[theme].ground, size: 6, solidity: 0.3 },
    };
  });
  const layout = timeLayout(theme, series.times.at(-1), halfHourSpan(pieces.times), parts.length);
  layout.xaxis.tickformat = "%H:%M";
  return { data, layout };
}

/// Half an hour, or less while there is less: never less than two minutes.
function halfHourSpan(times) {
  const there = times.length > 0 ? times.at(-1) - times[0] : 0;
  return Math.min(HALF_HOUR_MILLISECONDS, Math.max(there, 2 * MINUTE_MILLISECONDS));
}

function line(part, theme, x, y) {
  return {
    type: "scatter",
    mode: "lines",
    x,
    y,
    name: plotText(part.label),
    line: { color: part.colour[theme], width: 2, dash: part.colour.dash },
    hovertemplate: `${plotText(part.label).replaceAll("%", "％")} %{customdata}<extra></extra>`,
  };
}

/// Of columns of equal length; `null` only where all are.
function sum(columns) {
  const [first = [], ...rest] = columns;
  return first.map((value, at) => {
    return rest.reduce((whole, column) => ((column[at] ?? null) === null ? whole : (whole ?? 0) + column[at]), value);
  });
}

export function axis(theme) {
  const { text, grid } = THEMES[theme];
  return { fixedrange: true, zeroline: false, gridcolor: grid, linecolor: grid, tickfont: { color: text, size: 11 }, automargin: false };
}

export function common(theme) {
  const { text, label, edge, strong } = THEMES[theme];
  return {
    autosize: false,
    showlegend: false,
    dragmode: false,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: text },
    hoverlabel: { bgcolor: label, bordercolor: edge, font: { color: strong, size: 12 }, align: "left", namelength: -1 },
  };
}

function timeLayout(theme, last, span, lines) {
  const end = last ?? Date.now();
  return {
    ...common(theme),
    margin: { l: 44, r: 44, t: 8, b: 26 },
    hovermode: lines <= UNIFIED_MAX ? "x unified" : "closest",
    hoverdistance: 40,
    xaxis: { ...axis(theme), type: "date", range: [plotDate(end - span), plotDate(end)], showgrid: false, nticks: 6, ticks: "outside", ticklen: 4 },
    yaxis: { ...axis(theme), rangemode: "tozero", nticks: 5 },
  };
}
