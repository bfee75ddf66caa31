// Curves over a common x, with lines across for comparison.

import { lookOf } from "./look.js";
import { short } from "./text.js";

/** The curves of a figure of kind "lines" as SVG, so many pixels wide. */
export function drawLines(figure, width, height) {
  const spans = figure.series.flatMap((one) => one.points);
  return Plot.plot({
    width,
    height,
    marginLeft: 48,
    marginRight: 14,
    marginTop: 26,
    marginBottom: 38,
    x: { label: figure.x, labelAnchor: "center", labelArrow: "none", ticks: ticksOf(spans, width), tickFormat: short },
    y: { label: figure.y, labelArrow: "none", grid: true, ticks: 5, nice: true },
    marks: [
      Plot.axisY({ label: figure.y, labelArrow: "none", ticks: 5, tickSize: 0 }),
      ...rulesOf(figure, spans),
      ...figure.series.flatMap((one, place) => curveOf(one, lookOf(place), spans.length)),
      Plot.tip(
        figure.series.flatMap((one) => one.points.map((point) => ({ ...point, label: one.label }))),
        Plot.pointer({
          x: (point) => point.x,
          y: (point) => point.y,
          title: (point) => `${point.label}\n${figure.y}: ${short(point.y)}\n${figure.x}: ${short(point.x)}`,
        }),
      ),
    ],
  });
}

/** Rounds and seeds are whole numbers: no ticks between them. */
function ticksOf(points, width) {
  const places = [...new Set(points.map((point) => point.x))].sort((one, other) => one - other);
  const most = Math.max(3, Math.floor(width / 70));
  if (places.some((place) => !Number.isInteger(place)) || places.at(-1) - places[0] > most) return most;
  return d3.range(places[0], places.at(-1) + 1);
}

function curveOf(one, look, points) {
  const at = { x: (point) => point.x, y: (point) => point.y };
  const fill = one.counts ? look.color : "var(--paper)";
  // markers on every point only as long as they do not hide the curve; the last has one always
  const marked = points > 300 ? one.points.slice(-1) : one.points;
  return [
    Plot.line(one.points, { ...at, stroke: look.color, strokeWidth: 2, strokeDasharray: look.dash }),
    Plot.dot(marked, { ...at, r: 3.2, symbol: look.shape, fill, stroke: look.color, strokeWidth: 1.5 }),
  ];
}

function rulesOf(figure, spans) {
  const left = Math.min(...spans.map((point) => point.x));
  return [
    Plot.ruleY(figure.rules, { y: (rule) => rule.value, stroke: "var(--soft)", strokeDasharray: "3 3" }),
    Plot.text(figure.rules, {
      x: () => left,
      y: (rule) => rule.value,
      text: (rule) => `${rule.label} ${short(rule.value)}`,
      frameAnchor: "left",
      textAnchor: "start",
      dx: 4,
      dy: -7,
      fill: "var(--soft)",
      stroke: "var(--paper)",
      strokeWidth: 4,
    }),
  ];
}
