// One private image by itself: every attack's reconstruction, what crossed the wire of it, who looks like it.

import { h, say, tableOf } from "./charts/dom.js";
import { Sheets, fillTile, tileOf } from "./charts/tiles.js";
import { number } from "./charts/text.js";
import { drawHeat, drawHistogram } from "./activation.js";
import { Choice } from "./choices.js";

/** A dialog over the page. `show` opens it on one of a list of victims; arrows lead to its neighbors in the list. */
export class Detail {
  constructor(element, { run, store, api }) {
    Object.assign(this, { run, store, api, element });
    this.sheets = new Sheets();
    this.title = h("h2", { id: "detail-title" });
    this.cell = new Choice("cell", () => this.draw());
    this.body = h("div", { class: "detail-body" });
    const step = (by) => () => this.step(by);
    element.setAttribute("aria-labelledby", "detail-title");
    element.append(
      h(
        "header",
        {},
        this.title,
        this.cell.element,
        h("button", { type: "button", click: step(-1), "aria-label": "previous image" }, "←"),
        h("button", { type: "button", click: step(1), "aria-label": "next image" }, "→"),
        h("button", { type: "button", class: "close", click: () => element.close() }, "close"),
      ),
      this.body,
    );
    element.addEventListener("keydown", (event) => this.key(event));
    element.addEventListener("click", (event) => event.target === element && element.close());
  }

  key(event) {
    if (event.target.closest("select, .wide")) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) this.step(by);
  }

  step(by) {
    this.show(this.numbers, Math.max(0, Math.min(this.numbers.length - 1, this.index + by)), this.cell.value);
  }

  /** Open on the image at this index of the list. */
  async show(numbers, index, cell) {
    Object.assign(this, { numbers, index, victim: numbers[index], found: null });
    const { victims } = this.store;
    const named = victims.classes[victims.label[this.victim]];
    say(this.title, [`Image ${this.victim}`, named].filter(Boolean).join(", "));
    this.cell.options(this.store.names(this.run()).map((name) => [name, name]));
    if (cell) this.cell.value = cell;
    if (!this.element.open) this.element.showModal();
    const asked = this.victim;
    try {
      const found = await this.api.victim(asked);
      if (asked === this.victim) this.found = found;
    } catch (error) {
      if (asked === this.victim) this.body.replaceChildren(h("p", { class: "failed" }, error.message));
      return;
    }
    if (this.found) this.draw();
  }

  draw() {
    const cell = this.found.cells[this.cell.value] ?? { activation: null, attacks: {} };
    const attacks = Object.entries(cell.attacks);
    const none = h("p", { class: "status" }, "No attack on this cell has come to its end yet.");
    this.body.replaceChildren(
      h("div", { class: "made" }, this.original(), ...attacks.map(([name, scores]) => this.made(name, scores))),
      attacks.length ? h("div", { class: "wide" }, this.scores(attacks)) : none,
      ...this.wired(cell.activation),
      ...this.neighbors(attacks),
    );
  }

  /** The private image, where the lab holds it. */
  original() {
    const { victims } = this.store;
    if (!victims.sheets.length) return null;
    const seed = this.run().cells.get(this.cell.value)?.seed;
    const client = this.found.original?.client[seed];
    const note = client >= 0 ? `client ${client}'s original` : "original";
    return h("figure", {}, this.tileOfOriginal(this.victim), h("figcaption", {}, note));
  }

  tileOfOriginal(victim) {
    const { victims } = this.store;
    const tile = tileOf(victims);
    const sheet = victims.sheets[Math.floor(victim / victims.tiles_per_sheet)];
    if (sheet) fillTile(tile, this.sheets, this.api.original(sheet), victim % victims.tiles_per_sheet);
    return tile;
  }

  made(name, scores) {
    const tile = tileOf(this.store.victims);
    const { folder } = this.found.cells[this.cell.value];
    fillTile(tile, this.sheets, this.api.picture(`${folder}/${scores.sheet}`), scores.tile);
    return h("figure", {}, tile, h("figcaption", {}, name, h("small", {}, `${number(scores.psnr_db, 1)} dB`)));
  }

  scores(attacks) {
    const strongest = this.run().cells.get(this.cell.value)?.result?.strongest;
    const rows = attacks.map(([name, { psnr_db, ssim, reid_rank }]) => [
      name === strongest ? `${name} (strongest)` : name,
      number(psnr_db, 1),
      number(ssim, 3),
      reid_rank ? String(reid_rank) : "—",
    ]);
    const among = this.store.victims.candidates;
    const caption = `Rank: the place of the original among ${among} private images, by likeness to the reconstruction; 1 is recognized.`;
    return tableOf(caption, ["attack", "PSNR dB", "SSIM", "rank"], rows);
  }

  /** The activation as it crossed the wire. */
  wired(activation) {
    if (!activation) return [h("p", { class: "status" }, "What crossed the wire is kept of the first images only.")];
    const size = activation.shape.join(" × ");
    return [
      h("h3", {}, `The activation as it crossed the wire, ${size} numbers`),
      h("div", { class: "activation" }, drawHeat(activation), drawHistogram(activation)),
    ];
  }

  neighbors(attacks) {
    const known = attacks.filter(([, scores]) => scores.nearest?.length);
    if (!known.length || !this.store.victims.sheets.length) return [];
    const rows = known.map(([name, { nearest }]) =>
      h(
        "div",
        { class: "nearest" },
        h("span", {}, name),
        ...nearest.map((victim) =>
          h(
            "figure",
            {},
            this.tileOfOriginal(victim),
            h("figcaption", {}, victim === this.victim ? "itself" : `#${victim}`),
          ),
        ),
      ),
    );
    return [h("h3", {}, "The private images that each reconstruction is nearest to"), ...rows];
  }
}
