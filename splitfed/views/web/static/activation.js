// What crossed the wire of one image: a heat map of its numbers, and how they are distributed.

import { h } from "./charts/dom.js";
import { short } from "./charts/text.js";

/** The numbers as a heat map, row by row; its scale says what dark and bright mean. */
export function drawHeat({ values, shape }) {
  const flat = values.flat(Infinity);
  const columns = shape.length > 1 ? shape.at(-1) : Math.ceil(Math.sqrt(flat.length));
  const rows = Math.ceil(flat.length / columns);
  const canvas = h("canvas", { class: "heat", width: columns, height: rows, role: "img" });
  const [low, high] = d3.extent(flat.filter(Number.isFinite));
  canvas.setAttribute("aria-label", `heat map of ${flat.length} numbers from ${short(low)} to ${short(high)}`);
  paint(canvas, flat, low, high);
  return h(
    "figure",
    {},
    canvas,
    h(
      "figcaption",
      {},
      h("span", { class: "scale", "aria-hidden": "true" }),
      `dark ${short(low)} to bright ${short(high)}`,
    ),
  );
}

function paint(canvas, flat, low, high) {
  const brush = canvas.getContext("2d");
  const pixels = brush.createImageData(canvas.width, canvas.height);
  flat.forEach((value, place) => {
    const share = Number.isFinite(value) ? (value - low) / (high - low || 1) : 0;
    const { r, g, b } = d3.rgb(d3.interpolateInferno(share));
    pixels.data.set([r, g, b, 255], 4 * place);
  });
  brush.putImageData(pixels, 0, 0);
}

/** How often which numbers occur. */
export function drawHistogram({ histogram: { edges, counts } }) {
  const bars = counts.map((n, place) => ({ n, from: edges[place], to: edges[place + 1] }));
  const drawn = Plot.plot({
    width: 340,
    height: 180,
    marginLeft: 44,
    marginBottom: 34,
    x: { label: "value", labelAnchor: "center", labelArrow: "none", ticks: 5 },
    y: { label: "numbers", labelArrow: "none", grid: true, ticks: 4 },
    marks: [Plot.rectY(bars, { x1: "from", x2: "to", y: "n", fill: "var(--c0)", inset: 0.5 }), Plot.ruleY([0])],
  });
  const most = bars.reduce((one, other) => (other.n > one.n ? other : one));
  drawn.setAttribute("role", "img");
  drawn.setAttribute("aria-label", `histogram: most numbers lie between ${short(most.from)} and ${short(most.to)}`);
  return h("figure", { class: "drawing" }, drawn, h("figcaption", {}, "how often which value occurs"));
}
