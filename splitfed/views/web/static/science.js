// The science: how leakage and accuracy came about while it happens, and what the finished cells show together.

import { h } from "./charts/dom.js";
import { FigureView } from "./charts/figure.js";
import { Choice } from "./choices.js";

const METRICS = {
  psnr_db: "PSNR, dB",
  ssim: "SSIM",
  reid_top1: "re-identified, share of images",
};
const MOST_CURVES = 24;

export class Science {
  constructor(element, { run, api, chosen }) {
    Object.assign(this, { run, api, chosen, baselines: {} });
    this.metric = new Choice("measure", () => this.update());
    this.metric.options(Object.entries(METRICS));
    this.grid = h("div", { class: "figures" });
    this.views = new Map();
    element.append(h("div", { class: "controls" }, this.metric.element), this.grid);
  }

  /** Cells have finished: ask for what they show together, and give back their results. */
  async refresh() {
    const [figures, results] = await Promise.all([this.api.figures(), this.api.results()]);
    this.baselines = results?.baselines ?? this.baselines;
    figures.forEach((figure, place) => this.show(`finished ${place}`, figure));
    this.update();
    return results;
  }

  /** Draw what runs now, and the cells beside each other. */
  update() {
    const run = this.run();
    const cell = run.cells.get(this.chosen()) ?? run.current;
    if (!cell) return;
    this.baselines = { ...run.started?.baselines, ...this.baselines };
    const metric = this.metric.value;
    const rules = this.rules(metric);
    const over = { kind: "lines", x: "seconds since the cell started", y: METRICS[metric], rules };
    const attacks = [...cell.attacks.values()].map((one) => seriesOf(one.name, one[metric]));
    const cells = [...run.cells.values()].slice(-MOST_CURVES);
    this.show("attacks", { ...over, title: `Every attack on ${cell.name}, while it learns`, series: attacks });
    const ahead = cells.map((one) => seriesOf(one.name, aheadOf(one)?.[metric]));
    this.show("cells", { ...over, title: "Each cell's strongest attack", series: ahead });
    const rounds = { kind: "lines", x: "round", rules: [] };
    const accuracy = cells.map((one) => seriesOf(one.name, one.accuracy));
    this.show("accuracy", { ...rounds, title: "Test accuracy after each round", y: "test accuracy", series: accuracy });
    const loss = cells.map((one) => seriesOf(one.name, one.loss));
    this.show("loss", { ...rounds, title: "Training loss in each round", y: "loss", series: loss });
  }

  rules(metric) {
    return Object.entries(this.baselines)
      .map(([name, score]) => ({ label: name.replaceAll("_", " "), value: score[metric] }))
      .filter((rule) => Number.isFinite(rule.value));
  }

  /** Nothing is known yet, as before a replay. */
  clear() {
    for (const view of this.views.values()) view.element.hidden = true;
  }

  show(name, figure) {
    const drawn = { ...figure, series: figure.series.filter((one) => one.points.length) };
    let view = this.views.get(name);
    if (!drawn.series.length) {
      if (view) view.element.hidden = true;
      return;
    }
    if (!view) {
      view = new FigureView(h("figure", { class: "card", "data-name": name }));
      this.views.set(name, view);
      this.grid.append(view.element);
    }
    view.element.hidden = false;
    const text = JSON.stringify(drawn);
    if (text !== view.text) view.show(drawn);
    view.text = text;
  }
}

function seriesOf(label, curve) {
  return { label, points: curve?.all ?? [], counts: true };
}

function aheadOf(cell) {
  const strongest = cell.result?.strongest;
  if (strongest) return cell.attacks.get(strongest);
  return d3.greatest(cell.attacks.values(), (attack) => attack.latest?.ssim ?? -1);
}
