// Pictures that hold many images as tiles, and single tiles drawn from them.

import { h } from "./dom.js";

export const PER_ROW = 32;
export const PER_SHEET = 1024;
/** Of all pictures that are kept together; a browser holds four bytes for each. */
const MOST_PIXELS = 32e6;
/** A tile on the screen is a whole multiple of its pixels, at least so wide: no pixel is wider than its neighbor. */
const EDGE_PX = 64;

/** Pictures by address, the last used kept. */
export class Sheets {
  constructor() {
    this.pictures = new Map();
  }

  /** The picture at this address as a promise; refused where there is none (any more). */
  get(address) {
    const known = this.pictures.get(address) ?? this.load(address);
    this.pictures.delete(address); // and last in order again
    this.pictures.set(address, known);
    return known.picture;
  }

  load(address) {
    const picture = new Image();
    picture.src = address;
    const entry = { pixels: 0 };
    entry.picture = picture.decode().then(() => {
      entry.pixels = picture.naturalWidth * picture.naturalHeight;
      this.drop();
      return picture;
    });
    entry.picture.catch(() => this.pictures.delete(address));
    return entry;
  }

  drop() {
    let pixels = 0;
    for (const entry of this.pictures.values()) pixels += entry.pixels;
    for (const [address, entry] of this.pictures) {
      if (pixels <= MOST_PIXELS || this.pictures.size === 1) return;
      this.pictures.delete(address);
      pixels -= entry.pixels;
    }
  }
}

/** How wide a tile of so many pixels is on the screen. */
export function edgeOf(width) {
  return Math.max(1, Math.round(EDGE_PX / width), Math.ceil(EDGE_PX / width)) * width;
}

/** An empty tile for images of this height and width. */
export function tileOf({ height, width }) {
  const tile = h("canvas", { class: "tile", width, height, "aria-hidden": "true" });
  tile.style.aspectRatio = `${width} / ${height}`;
  return tile;
}

/** Draw into a tile the image at this place of a sheet, as soon as that is there; only the last call counts. */
export async function fillTile(tile, sheets, address, place) {
  const wanted = `${address}#${place}`;
  if (tile.shows === wanted) return;
  tile.shows = wanted;
  let picture;
  try {
    picture = await sheets.get(address);
  } catch {
    picture = null;
  }
  if (tile.shows === wanted) paint(tile, picture, place);
}

/** Leave a tile empty. */
export function clearTile(tile) {
  tile.shows = null;
  paint(tile, null);
}

function paint(tile, picture, place) {
  const [across, down] = [tile.width * (place % PER_ROW), tile.height * Math.floor(place / PER_ROW)];
  const brush = tile.getContext("2d");
  brush.clearRect(0, 0, tile.width, tile.height);
  if (picture) brush.drawImage(picture, across, down, tile.width, tile.height, 0, 0, tile.width, tile.height);
  tile.classList.toggle("gone", !picture);
}
