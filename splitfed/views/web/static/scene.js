// What the wall shows at one position of its slider: per column (a cell and an attack) one moment, or what it came to.

import { PER_SHEET } from "./charts/tiles.js";
import { placed } from "./wallstore.js";

const MOST_COLUMNS = 24;

/** The attack of a cell that is ahead: the strongest of a finished one, else the one of highest SSIM so far. */
export function strongestOf(cell, attacks) {
  const names = [...(attacks?.keys() ?? [])];
  const chosen = cell?.result?.strongest;
  if (chosen && names.includes(chosen)) return chosen;
  const ssim = (name) => cell?.attacks.get(name)?.latest?.ssim ?? -Infinity;
  return names.sort((one, other) => ssim(other) - ssim(one))[0] ?? null;
}

/** The columns of the wall: the chosen cell and attack, or every cell with that attack (or its strongest). */
export function columnsOf(store, run, choice) {
  const names = store.names(run);
  const wanted = choice.every ? names.slice(0, MOST_COLUMNS) : names.filter((name) => name === choice.cell);
  return wanted
    .map((name) => {
      const attacks = store.cells.get(name);
      const attack = choice.attack ?? strongestOf(run.cells.get(name), attacks);
      return attacks.get(attack);
    })
    .filter(Boolean);
}

/** How many positions the slider has: one for each moment, one more for what the attack came to. */
export function stepsOf(columns) {
  return Math.max(0, ...columns.map((entry) => entry.moments.length + (entry.final ? 1 : 0)));
}

/** What a column shows at this share of its time, 0 to 1; null while it shows nothing. */
export function shownOf(store, entry, share) {
  const steps = entry.moments.length + (entry.final ? 1 : 0);
  const step = Math.round(share * (steps - 1));
  if (entry.final && step >= entry.moments.length) {
    const final = store.final(entry);
    return final && { ...final, entry, final: true };
  }
  const moment = entry.moments[Math.max(0, step)];
  if (!moment) return null;
  moment.placed ??= placed(moment);
  return { ...moment.placed, entry, moment, sheets: [moment.sheet] };
}

/** Where the tile of a victim lies: the name of its sheet and its place there; null where it is not shown. */
export function tileAt(shown, victim) {
  const place = shown?.places.get(victim);
  if (place === undefined) return null;
  return { sheet: shown.sheets[Math.floor(place / PER_SHEET)], place: place % PER_SHEET, row: place };
}

/** The victims that any column shows, in the order that was asked for. */
export function ordered(shown, victims, order, client) {
  const numbers = [...new Set(shown.flatMap((one) => one?.victims ?? []))];
  const leak = leaks(shown);
  const keys = {
    leak: (number) => -(leak.get(number) ?? -Infinity),
    safe: (number) => leak.get(number) ?? Infinity,
    number: () => 0,
    class: (number) => victims?.label[number] ?? 0,
    client: (number) => client(number) ?? 0,
  };
  const key = new Map(numbers.map((number) => [number, keys[order](number)]));
  return numbers.sort((one, other) => compared(key.get(one), key.get(other)) || one - other);
}

function compared(one, other) {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

/** Per victim the highest SSIM that any column reaches. */
function leaks(shown) {
  const found = new Map();
  for (const one of shown)
    one?.ssim?.forEach((ssim, place) => {
      const number = one.victims[place];
      if (Number.isFinite(ssim) && !(found.get(number) >= ssim)) found.set(number, ssim);
    });
  return found;
}

/** Means over what is shown: PSNR, SSIM, and the share whose nearest original is the right one. */
export function meansOf(shown) {
  const mean = (values) => d3.mean(values?.filter((value) => Number.isFinite(value)) ?? []);
  const ranks = shown.reid_rank?.filter((rank) => rank > 0) ?? [];
  return {
    psnr_db: mean(shown.psnr_db),
    ssim: mean(shown.ssim),
    reid: ranks.length ? d3.mean(ranks, (rank) => rank === 1) : NaN,
  };
}
