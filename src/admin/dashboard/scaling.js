// Scaling in a picture: live connections, those expected with their interval, and the replicas. Figures in, traces out: no DOM here.

import { count, counted, plotDate, rate } from "./format.js";
import { THEMES, axis, common } from "./traces.js";

/// As many as `Series` keeps: half an hour.
const POINTS_MAX = 901;
const LEAST_MILLISECONDS = 120_000;

const COLOURS = {
  light: { live: "#3d4e94", expected: "#a95e28", interval: "rgba(169, 94, 40, 0.18)", replicas: "#088776", wanted: "#7d8894" },
  dark: { live: "#98a7f9", expected: "#ef743b", interval: "rgba(239, 116, 59, 0.22)", replicas: "#4ed4ac", wanted: "#8b97a4" },
};

/// What a service's `api::Scaling` said, a point at a time.
export class ScalingSeries {
  /// `{time, connections, wanted, ready, running}`, times in milliseconds, rising.
  points = [];
  /// `{time, mean, lower, upper}`, each at the time that it is for.
  forecasts = [];

  /// Takes `api::Scaling` as it was at a time.
  add(time, { connections, wanted, ready, running, prediction }) {
    if (!(time > (this.points.at(-1)?.time ?? -Infinity))) return;
    this.points.push({ time, connections, wanted, ready, running });
    if (prediction.outlook === "used") {
      const at = Date.parse(prediction.at);
      // A forecast for the same time that was made later knows more.
      while ((this.forecasts.at(-1)?.time ?? -Infinity) >= at) this.forecasts.pop();
      const { mean, lower, upper } = prediction;
      this.forecasts.push({ time: at, mean, lower, upper });
    }
    this.points.splice(0, this.points.length - POINTS_MAX);
    this.forecasts.splice(0, this.forecasts.length - POINTS_MAX);
  }
}

/// In a line, what is expected and whether it counts: `api::Prediction`.
export function outlook(prediction) {
  const errors = ({ own_error, naive_error }) => `off by ${rate(own_error)} on average, "the same as now" by ${rate(naive_error)}`;
  switch (prediction.outlook) {
    case "learning":
      return `learning, ${Math.floor((100 * prediction.have_seconds) / prediction.need_seconds)} % of what it takes`;
    case "not_better":
      return `not used: ${errors(prediction)}`;
    case "used":
      return `${count(Math.round(prediction.lower))} to ${count(Math.round(prediction.upper))} connections expected; ${errors(prediction)}`;
    default:
      return "off";
  }
}

/// The picture: connections by the left axis, replicas in a band of their own below.
export function scalingTraces(series, isDark) {
  const theme = isDark ? "dark" : "light";
  const colours = COLOURS[theme];
  const times = series.points.map(({ time }) => plotDate(time));
  const ahead = series.forecasts.map(({ time }) => plotDate(time));
  const expected = (key) => series.forecasts.map((forecast) => forecast[key]);
  const data = [
    { ...scatter(ahead, expected("lower")), line: { width: 0 }, hoverinfo: "skip" },
    { ...scatter(ahead, expected("upper")), line: { width: 0 }, fill: "tonexty", fillcolor: colours.interval, hoverinfo: "skip" },
    {
      ...scatter(ahead, expected("mean")),
      line: { color: colours.expected, width: 2, dash: "dot" },
      customdata: series.forecasts.map(({ lower, upper }) => `${count(Math.round(lower))} to ${count(Math.round(upper))}`),
      hovertemplate: "expected %{customdata}<extra></extra>",
    },
    {
      ...scatter(times, series.points.map(({ connections }) => connections)),
      line: { color: colours.live, width: 2 },
      customdata: series.points.map(({ connections }) => counted(connections, "live connection")),
      hovertemplate: "%{customdata}<extra></extra>",
    },
    {
      ...scatter(times, series.points.map(({ wanted }) => wanted)),
      yaxis: "y2",
      line: { color: colours.wanted, width: 1.5, dash: "dash", shape: "hv" },
      hovertemplate: "%{y} wanted<extra></extra>",
    },
    {
      ...scatter(times, series.points.map(({ ready }) => ready)),
      yaxis: "y2",
      line: { color: colours.replicas, width: 2, shape: "hv" },
      customdata: series.points.map(({ ready, running }) => `${counted(ready, "replica")} ready${running > ready ? ` of ${count(running)}` : ""}`),
      hovertemplate: "%{customdata}<extra></extra>",
    },
  ];
  return { data, layout: layout(series, theme) };
}

function scatter(x, y) {
  return { type: "scatter", mode: "lines", x, y };
}

/// The time from the first point to the last forecast.
function layout(series, theme) {
  const now = series.points.at(-1)?.time ?? Date.now();
  const end = Math.max(now, series.forecasts.at(-1)?.time ?? now);
  const begin = Math.min(series.points[0]?.time ?? now, end - LEAST_MILLISECONDS);
  const mark = { type: "line", x0: plotDate(now), x1: plotDate(now), yref: "paper", y0: 0, y1: 1, line: { color: THEMES[theme].text, width: 1, dash: "dot" } };
  return {
    ...common(theme),
    margin: { l: 44, r: 44, t: 8, b: 26 },
    hovermode: "x unified",
    hoverdistance: 40,
    shapes: end > now ? [mark] : [],
    xaxis: { ...axis(theme), type: "date", anchor: "y2", range: [plotDate(begin), plotDate(end)], showgrid: false, nticks: 6, ticks: "outside", ticklen: 4, tickformat: end - begin < 600_000 ? "%H:%M:%S" : "%H:%M" },
    yaxis: { ...axis(theme), domain: [0.36, 1], rangemode: "tozero", nticks: 5 },
    yaxis2: { ...axis(theme), side: "right", domain: [0, 0.28], rangemode: "tozero", nticks: 3, tickformat: "d" },
  };
}
