// Items of the wall: an original beside what became of it, under one defense or under every one.

import { h, say } from "./charts/dom.js";
import { clearTile, edgeOf, fillTile, tileOf } from "./charts/tiles.js";
import { number } from "./charts/text.js";
import { tileAt } from "./scene.js";

const GAP_PX = 4;
const CAPTION_PX = 34;
const PADDING_PX = 7; // with the border

/** How large an item is that shows so many tiles of this size, in a wall so many pixels wide. */
export function sizeOf(victims, columns, room) {
  const edge = edgeOf(victims.width);
  const tall = Math.round((edge * victims.height) / victims.width);
  const tiles = columns + (victims.sheets.length ? 1 : 0);
  const across = Math.max(1, Math.min(tiles, Math.floor((room - 2 * PADDING_PX) / (edge + GAP_PX))));
  const down = Math.ceil(tiles / across);
  const caption = columns > 1 ? 18 : 0;
  const width = across * (edge + GAP_PX) - GAP_PX + 2 * PADDING_PX;
  return { width, height: down * (tall + caption + GAP_PX) + CAPTION_PX + PADDING_PX, edge };
}

/** An empty item with a place for so many reconstructions. */
export function itemOf(victims, columns, edge) {
  const cell = (name) =>
    h("span", { class: "cell" }, tileOf(victims), columns > 1 ? h("span", { class: "cell-caption" }, name) : null);
  const kept = victims.sheets.length ? [cell("original")] : [];
  const made = Array.from({ length: columns }, () => cell(""));
  const item = h("button", { type: "button", class: "item" }, h("span", { class: "tiles" }, ...kept, ...made));
  item.style.setProperty("--edge", `${edge}px`);
  item.append(h("span", { class: "tile-caption" }), h("span", { class: "tile-caption" }));
  return item;
}

/** Make an item show a victim. */
export function fillItem(item, victim, { victims, shown, sheets, picture, original, client }) {
  const tiles = [...item.querySelectorAll("canvas")];
  if (victims.sheets.length) {
    const sheet = victims.sheets[Math.floor(victim / victims.tiles_per_sheet)];
    fillTile(tiles.shift(), sheets, original(sheet), victim % victims.tiles_per_sheet);
  }
  shown.forEach((one, place) => {
    const found = tileAt(one, victim);
    const address = found && picture(one.entry.cell, found.sheet);
    if (address) fillTile(tiles[place], sheets, address, found.place);
    else clearTile(tiles[place]);
  });
  const [above, below] = item.querySelectorAll(".tile-caption");
  say(above, [`#${victim}`, victims.classes[victims.label[victim]]].filter(Boolean).join(" · "));
  say(below, shown.length > 1 ? clientText(client(victim)) : scoresOf(shown[0], victim));
  if (shown.length > 1) captions(item, shown, victim, victims.sheets.length ? 1 : 0);
  item.setAttribute("aria-label", spoken(victim, victims, shown, client));
}

function captions(item, shown, victim, first) {
  const texts = [...item.querySelectorAll(".cell-caption")].slice(first);
  shown.forEach((one, place) => {
    const row = tileAt(one, victim)?.row;
    say(texts[place], `${one?.entry.cell ?? ""} ${row === undefined ? "" : number(one.psnr_db?.[row], 1)}`);
  });
}

/** Scores of one image in a few signs; whether it is recognized is a word, not a color. */
export function scoresOf(shown, victim) {
  const row = tileAt(shown, victim)?.row;
  if (row === undefined || !shown.psnr_db?.length) return "";
  const rank = shown.reid_rank?.[row];
  return [`${number(shown.psnr_db[row], 1)} dB`, `SSIM ${number(shown.ssim[row], 2)}`, rank ? `rank ${rank}` : null]
    .filter(Boolean)
    .join(" · ");
}

function clientText(client) {
  return client >= 0 ? `client ${client}` : "";
}

function spoken(victim, victims, shown, client) {
  const scores = shown.filter(Boolean).map((one) => `${one.entry.cell}: ${scoresOf(one, victim) || "not shown"}`);
  const whose = [victims.classes[victims.label[victim]], clientText(client(victim))].filter(Boolean).join(", ");
  return `Image ${victim}, ${whose}. ${scores.join("; ")}`;
}
