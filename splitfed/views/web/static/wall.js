// The wall: private images, each beside what the attacker makes of it.

import { h, say } from "./charts/dom.js";
import { Sheets } from "./charts/tiles.js";
import { count, number, percent } from "./charts/text.js";
import { Choice, switchOf } from "./choices.js";
import { Grid } from "./grid.js";
import { fillItem, itemOf, sizeOf } from "./items.js";
import { columnsOf, meansOf, ordered, shownOf, stepsOf, strongestOf } from "./scene.js";

const ORDERS = [
  ["leak", "leaks most first"],
  ["safe", "leaks least first"],
  ["number", "by number"],
  ["class", "by class"],
  ["client", "by client"],
];
const STRONGEST = "";
const PLAY_MS = 350;

export class Wall {
  constructor(element, { run, store, api, open, chosen }) {
    Object.assign(this, { run, store, api, element, chosen });
    this.sheets = new Sheets();
    this.every = false;
    this.share = 1;
    this.order = "leak";
    this.follows = true;
    this.build();
    this.grid = new Grid(this.scroller, {
      make: () => itemOf(this.store.victims, this.columns.length, this.edge),
      fill: (item, index) => fillItem(item, this.numbers[index], this.scene),
      choose: (index) => open(this.numbers, index),
    });
    new ResizeObserver(() => this.draw()).observe(this.scroller);
  }

  build() {
    this.view = switchOf(
      "What stands beside an original",
      [
        ["one", "one attack"],
        ["every", "every defense"],
      ],
      (value) => {
        this.every = value === "every";
        this.choose();
      },
    );
    this.cell = new Choice("cell", () => {
      this.follows = false;
      this.choose();
      this.chosen();
    });
    this.attack = new Choice("attack", () => this.choose());
    this.sort = new Choice("order", (value) => {
      this.order = value;
      this.draw();
    });
    this.sort.options(ORDERS);
    this.slider = h("input", { type: "range", min: 0, max: 0, step: 1, value: 0, input: () => this.slide() });
    this.when = h("output", { class: "when" });
    this.play = h("button", { type: "button", class: "play", click: () => this.playing(!this.timer) }, "▶ emerge");
    const moment = h("label", { class: "field slider" }, h("span", {}, "moment"), this.slider);
    this.status = h("p", { class: "status" });
    this.scroller = h("div", { class: "scroller", role: "group", "aria-label": "private images", tabindex: -1 });
    this.empty = h("p", { class: "empty" }, "No attack has shown anything yet.");
    this.element.append(
      h("div", { class: "controls" }, this.view, this.cell.element, this.attack.element, this.sort.element),
      h("div", { class: "controls" }, this.play, moment, this.when),
      this.status,
      this.empty,
      this.scroller,
    );
  }

  /** There may be more to see: new moments, new cells, other names. */
  update() {
    const cells = this.store.names(this.run());
    this.cell.options(cells.map((name) => [name, this.titleOf(name)]));
    // until somebody chooses, the cell under way is shown; of a run that is over, the first, which has no defense
    const wanted = this.run().finished ? cells[0] : this.run().current?.name;
    if (this.follows && cells.includes(wanted)) this.cell.value = wanted;
    this.choose({ again: true });
  }

  titleOf(name) {
    const result = this.run().cells.get(name)?.result;
    return result && !result.valid ? `${name} (INVALID)` : name;
  }

  choose({ again = false } = {}) {
    const attacks = this.every
      ? new Set([...this.store.cells.values()].flatMap((one) => [...one.keys()]))
      : (this.store.cells.get(this.cell.value)?.keys() ?? []);
    const strongest = this.every
      ? ""
      : strongestOf(this.run().cells.get(this.cell.value), this.store.cells.get(this.cell.value));
    const named = [...attacks].map((name) => [name, name]);
    this.attack.options([[STRONGEST, strongest ? `strongest (${strongest})` : "strongest of each"], ...named]);
    this.cell.element.hidden = this.every;
    if (!again) this.grid.clear();
    this.draw();
  }

  slide() {
    this.playing(false);
    const last = Number(this.slider.max);
    this.share = last ? Number(this.slider.value) / last : 1;
    this.draw();
  }

  /** Go through the moments by itself, from the first on where it stands at the end. */
  playing(on) {
    clearInterval(this.timer);
    this.timer = null;
    say(this.play, on ? "❚❚ pause" : "▶ emerge");
    if (!on) return;
    let step = this.share >= 1 ? -1 : Number(this.slider.value);
    this.timer = setInterval(() => {
      step += 1;
      this.slider.value = step;
      this.share = step / Math.max(1, Number(this.slider.max));
      this.draw();
      if (this.share >= 1) this.playing(false);
    }, PLAY_MS);
  }

  draw() {
    const choice = { every: this.every, cell: this.cell.value, attack: this.attack.value || null };
    const before = this.columns?.length;
    this.columns = columnsOf(this.store, this.run(), choice);
    const steps = stepsOf(this.columns);
    this.slider.max = Math.max(0, steps - 1);
    this.slider.value = Math.round(this.share * Math.max(0, steps - 1));
    this.slider.disabled = this.play.disabled = steps < 2;
    const { victims } = this.store;
    const shown = this.columns.map((entry) => shownOf(this.store, entry, this.share));
    this.empty.hidden = Boolean(victims && steps);
    this.scroller.hidden = this.status.hidden = !this.empty.hidden;
    if (!this.empty.hidden) return;
    if (before !== this.columns.length) this.grid.clear();
    const client = (victim) => victims.client[this.seed]?.[victim] ?? -1;
    this.scene = {
      victims,
      names: this.columns.map((entry) => entry.cell),
      shown,
      sheets: this.sheets,
      client,
      original: (sheet) => this.api.original(sheet),
      picture: (cell, sheet) => this.picture(cell, sheet),
    };
    this.numbers = ordered(shown, victims, this.order, client);
    const { edge, ...size } = sizeOf(victims, this.columns.length, this.scroller.clientWidth);
    this.edge = edge;
    this.grid.show(this.numbers.length, size);
    this.tell(shown.filter(Boolean), steps);
  }

  picture(cell, sheet) {
    const path = this.store.path(cell, sheet);
    return path && this.api.picture(path);
  }

  /** Which client holds an image is drawn anew under each seed. */
  get seed() {
    return String(this.run().cells.get(this.columns[0]?.cell)?.seed ?? Object.keys(this.store.victims.client)[0]);
  }

  tell(shown, steps) {
    const first = shown[0];
    const at = first?.final ? "what it came to" : first ? this.timeOf(first) : "";
    say(this.when, `${at} (${Number(this.slider.value) + 1} of ${steps})`);
    this.slider.setAttribute("aria-valuetext", this.when.textContent);
    const images = `${count(this.numbers.length)} private images`;
    if (!first) say(this.status, "loading");
    else if (shown.length > 1)
      say(this.status, `${images}, each beside what the attacker makes of it under ${shown.length} defenses`);
    else {
      const { attack, cell } = first.entry;
      say(this.status, `${images} (left), and what ${attack} makes of each on ${cell}${this.meansText(first)}`);
    }
  }

  /** When this was: in a round, or after the last, when what was kept is attacked. */
  timeOf({ entry, moment }) {
    const after = moment.round > this.run().cells.get(entry.cell)?.rounds;
    return `${after ? "after training" : `round ${moment.round}`}, epoch ${moment.epoch}`;
  }

  meansText(shown) {
    const means = meansOf(shown);
    if (means.psnr_db === undefined) return "";
    const known = Number.isFinite(means.reid) ? `, ${percent(means.reid)} re-identified` : "";
    return `: mean PSNR ${number(means.psnr_db, 1)} dB, SSIM ${number(means.ssim, 3)}${known}`;
  }
}
