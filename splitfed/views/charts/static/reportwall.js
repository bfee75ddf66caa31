// The wall of a report: some private images, each beside what became of it under every defense, with a slider over time.

import { h, say } from "./dom.js";
import { Sheets, edgeOf, fillTile, tileOf } from "./tiles.js";
import { number } from "./text.js";

const ORDERS = { number: "by number", leak: "leaks most first" };

export class ReportWall {
  constructor(element, wall) {
    this.wall = wall;
    this.sheets = new Sheets();
    const steps = Math.max(...wall.columns.map((column) => column.steps.length));
    const draw = () => this.draw();
    this.slider = h("input", { type: "range", min: 0, max: steps - 1, value: steps - 1, input: draw });
    this.when = h("output");
    const options = Object.entries(ORDERS).map(([value, text]) => h("option", { value }, text));
    this.order = h("select", { change: () => this.arrange() }, ...options);
    this.items = wall.victims.map((victim, row) => this.itemOf(victim, row));
    this.list = h("div", { class: "items" });
    element.replaceChildren(
      h(
        "p",
        { class: "controls" },
        h("label", {}, "moment ", this.slider),
        this.when,
        h("label", {}, "order ", this.order),
      ),
      this.list,
    );
    this.arrange();
    this.draw();
  }

  itemOf(victim, row) {
    const { wall } = this;
    const cell = (note) => {
      const tile = tileOf(wall);
      const caption = h("span", { class: "tile-caption" }, note);
      return { tile, caption, element: h("div", { class: "cell" }, tile, caption) };
    };
    const original = cell("original");
    fillTile(original.tile, this.sheets, wall.originals, row);
    const made = wall.columns.map(() => cell(""));
    const name = [`#${victim}`, wall.classes[wall.labels[row]]].filter(Boolean).join(" · ");
    const tiles = h("div", { class: "tiles" }, ...[original, ...made].map((one) => one.element));
    tiles.style.setProperty("--edge", `${edgeOf(wall.width)}px`);
    return { row, made, element: h("figure", { class: "item" }, tiles, h("figcaption", {}, name)) };
  }

  /** Put the images in the order that was asked for. */
  arrange() {
    const leak = (row) => Math.max(...this.wall.columns.map((column) => column.steps.at(-1).ssim[row] ?? -1));
    const sorted = [...this.items];
    if (this.order.value === "leak") sorted.sort((one, other) => leak(other.row) - leak(one.row));
    this.list.replaceChildren(...sorted.map((item) => item.element));
  }

  /** Show what each attack made of the images at the slider's moment. */
  draw() {
    const share = Number(this.slider.max) ? Number(this.slider.value) / Number(this.slider.max) : 1;
    const now = this.wall.columns.map((column) => column.steps[Math.round(share * (column.steps.length - 1))]);
    for (const { row, made } of this.items) {
      made.forEach(({ tile, caption }, place) => {
        const { cell, attack } = this.wall.columns[place];
        fillTile(tile, this.sheets, now[place].sheet, row);
        say(caption, `${cell} ${number(now[place].psnr_db[row], 1)}`);
        caption.title = `${cell}, ${attack}: PSNR in dB`;
      });
    }
    const last = share === 1;
    say(this.when, last ? "what it came to" : `${now[0].when}`);
    this.slider.setAttribute("aria-valuetext", this.when.textContent);
  }
}
