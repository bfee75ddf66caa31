// Single points in a plane with their intervals, and the frontier of those that no other beats.

import { lookOf } from "./look.js";
import { short } from "./text.js";

const LINE_PX = 15;
const LETTER_PX = 6.6;
/** Below this there is no room for names beside points; the legend has them. */
const NAMES_FROM_PX = 460;

/** The points of a figure of kind "points" as SVG, so many pixels wide. */
export function drawPoints(figure, width, height) {
  const points = figure.series.map((one, place) => ({ ...one.points[0], label: one.label, counts: one.counts, place }));
  const options = {
    width,
    height,
    marginLeft: 48,
    marginRight: 18,
    marginTop: 26,
    marginBottom: 38,
    x: { label: figure.x, labelAnchor: "center", labelArrow: "none", ticks: Math.max(3, width / 110), nice: true },
    y: { label: figure.y, labelArrow: "none", nice: true, inset: 8 },
  };
  const marks = [
    Plot.gridY({ ticks: 5 }),
    Plot.axisY({ label: figure.y, labelArrow: "none", ticks: 5, tickSize: 0 }),
    ...rulesOn(figure),
    ...frontierOf(figure, points),
    ...points.flatMap((point) => pointOf(point)),
  ];
  if (width < NAMES_FROM_PX) return Plot.plot({ ...options, marks: [...marks, tipOf(figure, points)] });
  const scales = Plot.plot({ ...options, marks });
  const names = placed(points, scales.scale("x"), scales.scale("y"), width);
  return Plot.plot({ ...options, marks: [...marks, ...names, tipOf(figure, points)] });
}

function pointOf(point) {
  const look = lookOf(point.place);
  const bar = Number.isFinite(point.low) && Number.isFinite(point.high);
  return [
    bar && Plot.ruleY([point], { x1: "low", x2: "high", y: "y", stroke: look.color, strokeWidth: 2 }),
    Plot.dot([point], {
      x: "x",
      y: "y",
      r: 5.5,
      symbol: look.shape,
      fill: point.counts ? look.color : "var(--paper)",
      stroke: look.color,
      strokeWidth: 2,
    }),
  ].filter(Boolean);
}

/** Across at a point's height, then up to the next: what lies to the right and below is beaten. */
function frontierOf(figure, points) {
  const best = [...figure.frontier].sort((one, other) => one.x - other.x);
  if (!best.length) return [];
  const right = Math.max(...points.map((point) => Math.max(point.x, point.high ?? point.x)));
  const steps = [...best, { x: right, y: best.at(-1).y }];
  return [Plot.line(steps, { x: "x", y: "y", curve: "step-after", stroke: "var(--soft)", strokeWidth: 1.5 })];
}

function rulesOn(figure) {
  const shared = { x: (rule) => rule.value };
  return [
    Plot.ruleX(figure.rules, { ...shared, stroke: "var(--soft)", strokeDasharray: "3 3" }),
    Plot.text(figure.rules, {
      ...shared,
      text: (rule) => rule.label,
      frameAnchor: "bottom",
      textAnchor: "start",
      dx: 5,
      dy: -6,
      fill: "var(--soft)",
      stroke: "var(--paper)",
      strokeWidth: 4,
    }),
  ];
}

/** Names beside their points, moved down where they would overlap, to the left where they would leave the drawing. */
function placed(points, x, y, width) {
  const taken = [];
  const sorted = [...points].sort((one, other) => y.apply(one.y) - y.apply(other.y));
  return sorted.map((point) => {
    const across = x.apply(point.x);
    let down = 0;
    while (taken.some((other) => overlap(other, across, y.apply(point.y) + down))) down += 2;
    taken.push([across, y.apply(point.y) + down]);
    const fits = across + 8 + LETTER_PX * point.label.length < width;
    return Plot.text([point], {
      x: "x",
      y: "y",
      text: "label",
      dx: fits ? 8 : -8,
      dy: down - 11,
      textAnchor: fits ? "start" : "end",
      fill: lookOf(point.place).color,
      stroke: "var(--paper)",
      strokeWidth: 4,
      fontWeight: 600,
    });
  });
}

function overlap([across, down], x, y) {
  return Math.abs(down - y) < LINE_PX && Math.abs(across - x) < 200;
}

function tipOf(figure, points) {
  const title = (point) => `${point.label}\n${figure.x}: ${short(point.x)}\n${figure.y}: ${short(point.y)}`;
  return Plot.tip(points, Plot.pointer({ x: "x", y: "y", title }));
}
