// What there is to see on the wall: victims, moments of each attack, and what each came to.

const MOST_MOMENTS = 40;
const MOST_FINALS = 64;

/** The wall of one run, from the server's answer and from events; `changed` is called when there is more. */
export class WallStore {
  constructor(api, changed) {
    this.api = api;
    this.changed = changed;
    this.clear();
  }

  /** Forget all but the victims, as before a replay. */
  clear() {
    this.cells = new Map();
    this.finals = new Map();
    this.folders ??= new Map();
  }

  /** Ask the server what there is now. A replay wants the `victims` alone: the rest comes with its events. */
  async load({ victims = false } = {}) {
    const found = await this.api.wall();
    this.victims = found.victims;
    if (!victims) this.cells = new Map();
    for (const [cell, attacks] of victims ? [] : Object.entries(found.cells))
      for (const [attack, { final, moments, folder }] of Object.entries(attacks)) {
        this.folders.set(cell, folder);
        Object.assign(this.entry(cell, attack), { moments, final: Boolean(final) });
      }
    this.changed();
  }

  /** Ask where the pictures of a cell lie, once. */
  async locate(cell) {
    if (this.folders.has(cell)) return;
    this.folders.set(cell, null);
    const found = await this.api.wall(cell).catch(() => null);
    const [attack] = Object.values(found?.cells[cell] ?? {});
    if (attack) this.folders.set(cell, attack.folder);
    else this.folders.delete(cell);
    this.changed();
  }

  /** The path of a picture of a cell, below the run; null until it is known. */
  path(cell, sheet) {
    const folder = this.folders.get(cell);
    if (folder === undefined) this.locate(cell);
    return folder ? `${folder}/${sheet}` : null;
  }

  /** The cells that have something to show, in the order in which they run. */
  names(run) {
    const known = [...new Set([...(run.started?.cells ?? []), ...this.cells.keys()])];
    return known.filter((name) => this.cells.get(name)?.size);
  }

  /** What is known of an attack on a cell. */
  entry(cell, attack) {
    if (!this.cells.has(cell)) this.cells.set(cell, new Map());
    const attacks = this.cells.get(cell);
    if (!attacks.has(attack)) attacks.set(attack, { cell, attack, moments: [], final: false });
    return attacks.get(attack);
  }

  /** Take in an event of the run. */
  apply(event) {
    if (event.event === "CellStarted") this.forget(event.cell);
    if (event.event === "WallMoment") this.keep(this.entry(event.cell, event.attack), event);
    if (event.event === "WallFinished") this.entry(event.cell, event.attack).final = true;
  }

  /** A cell that starts again has nothing of its first attempt. */
  forget(cell) {
    for (const attack of this.cells.get(cell)?.keys() ?? []) this.finals.delete(keyOf(cell, attack));
    this.cells.delete(cell);
  }

  keep(entry, moment) {
    if (entry.moments.some((one) => one.number === moment.number)) return;
    entry.moments.push(moment);
    entry.moments.sort((one, other) => one.number - other.number);
    if (entry.moments.length <= MOST_MOMENTS) return;
    // as the run itself does: every other one goes
    const gaps = entry.moments.slice(1).map((one, place) => one.number - entry.moments[place].number);
    const stride = 2 * Math.min(...gaps);
    entry.moments = entry.moments.filter((one) => one.number % stride === 0);
  }

  /** What an attack came to, asked for once; null until it is there. */
  final(entry) {
    if (!entry?.final) return null;
    const key = keyOf(entry.cell, entry.attack);
    if (!this.finals.has(key)) {
      this.finals.set(key, null);
      if (this.finals.size > MOST_FINALS) this.finals.delete(this.finals.keys().next().value);
      this.api.final(entry.cell, entry.attack).then(
        (found) => {
          this.finals.set(key, placed(found));
          this.changed();
        },
        () => this.finals.delete(key),
      );
    }
    return this.finals.get(key);
  }
}

function keyOf(cell, attack) {
  return JSON.stringify([cell, attack]);
}

/** With where each victim is found. */
export function placed(shown) {
  return { ...shown, places: new Map(shown.victims.map((number, place) => [number, place])) };
}
