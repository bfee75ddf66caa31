// How series of a figure differ: by color, and by dash and marker too, so that they can be told apart in gray.

import { s } from "./dom.js";

const COLORS = 6;
const SHAPES = ["circle", "square", "triangle", "diamond"];
const DASHES = [null, "7 3", "2 3", "9 3 2 3"];

/** Color, dash and marker of the series at this place. The markers move on where the colors begin again. */
export function lookOf(place) {
  const turn = Math.floor(place / 12);
  return {
    color: `var(--c${place % COLORS})`,
    dash: DASHES[(place + Math.floor(place / COLORS)) % DASHES.length],
    shape: SHAPES[(place + turn) % SHAPES.length],
  };
}

/** A sample of a series for a legend: a line with its marker, or the marker alone; hollow where it does not count. */
export function sampleOf(place, { line, hollow }) {
  const look = lookOf(place);
  const path = d3.symbol(symbolOf(look.shape), 46)();
  const width = line ? 30 : 16;
  return s(
    "svg",
    { class: "sample", width, height: 14, viewBox: `${-width / 2} -7 ${width} 14`, "aria-hidden": "true" },
    line && s("line", { x1: -15, x2: 15, stroke: look.color, "stroke-width": 2, "stroke-dasharray": look.dash }),
    s("path", {
      d: path,
      fill: hollow ? "var(--paper)" : look.color,
      stroke: look.color,
      "stroke-width": hollow ? 2 : 0,
    }),
  );
}

function symbolOf(shape) {
  const known = {
    circle: d3.symbolCircle,
    square: d3.symbolSquare,
    triangle: d3.symbolTriangle,
    diamond: d3.symbolDiamond,
  };
  return known[shape];
}
