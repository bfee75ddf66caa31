// A figure: the drawing, what its series are, its caption, and its numbers as a table.

import { h, tableOf } from "./dom.js";
import { drawEmbedding } from "./embedding.js";
import { drawLines } from "./lines.js";
import { sampleOf } from "./look.js";
import { drawPoints } from "./points.js";
import { short } from "./text.js";

const DRAW = { lines: drawLines, points: drawPoints, embedding: drawEmbedding };
const TABLE_ROWS = 60;

/** A figure in an element of its own: `show` draws it, and it draws itself anew for another width. */
export class FigureView {
  constructor(element) {
    this.drawing = h("div", { class: "drawing" });
    this.legend = h("ul", { class: "legend" });
    this.caption = h("figcaption");
    this.numbers = h("details", { class: "numbers", toggle: () => this.list() }, h("summary", {}, "Numbers"));
    this.element = element;
    element.replaceChildren(this.caption, this.drawing, this.legend, this.numbers);
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.drawing);
  }

  show(figure) {
    this.figure = figure;
    this.width = 0;
    this.caption.replaceChildren(figure.title, ...(figure.note ? [h("small", {}, figure.note)] : []));
    this.legend.replaceChildren(...legendOf(figure));
    this.numbers.hidden = figure.kind === "embedding";
    this.list();
    this.draw();
  }

  /** Draw for the width at hand, once per width and figure. */
  draw() {
    const width = Math.floor(this.drawing.clientWidth);
    if (!this.figure || width < 50 || width === this.width) return;
    this.width = width;
    const drawn = DRAW[this.figure.kind](this.figure, width, Math.round(Math.min(360, Math.max(220, width * 0.56))));
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", spoken(this.figure));
    this.drawing.replaceChildren(drawn);
  }

  /** Its numbers, only while somebody reads them. */
  list() {
    this.numbers.querySelector("div")?.remove();
    if (this.numbers.open && this.figure) this.numbers.append(h("div", { class: "wide" }, numbersOf(this.figure)));
  }
}

function legendOf(figure) {
  if (figure.kind === "embedding")
    return figure.classes.map((name, place) => h("li", {}, sampleOf(place, { line: false }), name));
  return figure.series.map((one, place) =>
    h(
      "li",
      {},
      sampleOf(place, { line: figure.kind === "lines", hollow: !one.counts }),
      one.label,
      figure.kind === "lines" ? h("b", {}, short(one.points.at(-1).y)) : null,
    ),
  );
}

function spoken(figure) {
  if (figure.kind === "embedding") return figure.title;
  const last = figure.series.map(
    (one) => `${one.label}: ${short(one.points.at(-1).y)} at ${short(one.points.at(-1).x)}`,
  );
  return `${figure.title}. ${figure.note ?? ""} ${last.join("; ")}`;
}

function numbersOf(figure) {
  const rows = figure.series.flatMap((one) => {
    const step = Math.ceil((one.points.length * figure.series.length) / TABLE_ROWS);
    const kept = one.points.filter((_, place) => (one.points.length - 1 - place) % step === 0);
    return kept.map((point) => [one.label, short(point.x), short(point.y)]);
  });
  return tableOf(null, ["", figure.x, figure.y], [...rows, ...figure.rules.map((rule) => ruleRow(figure, rule))]);
}

function ruleRow(figure, rule) {
  return figure.kind === "lines" ? [rule.label, "", short(rule.value)] : [rule.label, short(rule.value), ""];
}
