// Features of images as points in a plane, one panel per network; classes differ by color and by marker.

import { h } from "./dom.js";
import { lookOf } from "./look.js";

/** The panels of a figure of kind "embedding", side by side where there is room. */
export function drawEmbedding(figure, width) {
  const across = width >= 900 ? figure.panels.length : 1;
  const edge = Math.floor(Math.min(width / across, 420)) - 12;
  return h("div", { class: "panels" }, ...figure.panels.map((panel) => panelOf(panel, figure.labels, edge)));
}

function panelOf(panel, labels, edge) {
  const places = panel.points.map(([x, y], position) => ({ x, y, label: labels[position] }));
  const classes = [...new Set(labels)].sort((one, other) => one - other);
  const middle = ([low, high]) => (low + high) / 2;
  const [xs, ys] = [d3.extent(places, (at) => at.x), d3.extent(places, (at) => at.y)];
  const reach = 0.53 * Math.max(xs[1] - xs[0], ys[1] - ys[0]) || 1; // one scale for both axes
  const domain = (span) => [middle(span) - reach, middle(span) + reach];
  const drawing = Plot.plot({
    width: edge,
    height: edge,
    margin: 1,
    x: { axis: null, domain: domain(xs) },
    y: { axis: null, domain: domain(ys) },
    marks: [
      Plot.frame({ stroke: "var(--line)" }),
      ...classes.map((label) =>
        Plot.dot(
          places.filter((at) => at.label === label),
          {
            x: "x",
            y: "y",
            r: 2.6,
            symbol: lookOf(label).shape,
            fill: lookOf(label).color,
            fillOpacity: 0.75,
            stroke: "none",
          },
        ),
      ),
    ],
  });
  return h("div", {}, h("p", { class: "panel" }, panel.title), drawing);
}
