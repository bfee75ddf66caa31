// A long list of equal items in rows, of which only those in sight exist.

import { h } from "./charts/dom.js";

const GAP_PX = 4;
const AHEAD_ROWS = 2;

/** Items in a scrolling element. `make` gives an empty item (a button), `fill` makes it the one at an index. */
export class Grid {
  constructor(element, { make, fill, choose }) {
    this.element = element;
    this.make = make;
    this.fill = fill;
    this.choose = choose;
    this.shown = new Map();
    this.spare = [];
    this.count = 0;
    this.active = 0;
    this.runway = h("div", { class: "runway" });
    element.append(this.runway);
    element.addEventListener("scroll", () => this.later(), { passive: true });
    element.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.later()).observe(element);
  }

  /** So many items of this size. Those in sight are filled anew. */
  show(count, { width, height }) {
    if (width !== this.width || height !== this.height) this.clear();
    this.count = count;
    this.width = width;
    this.height = height;
    this.active = Math.max(0, Math.min(this.active, count - 1));
    this.draw();
    for (const [index, item] of this.shown) this.fill(item, index);
  }

  /** Other kinds of items follow. */
  clear() {
    for (const item of this.shown.values()) item.remove();
    this.shown.clear();
    this.spare = [];
  }

  later() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.draw();
    });
  }

  get columns() {
    return Math.max(1, Math.floor((this.element.clientWidth + GAP_PX - 4) / (this.width + GAP_PX)));
  }

  draw() {
    if (!this.width || !this.element.clientWidth) return;
    const [columns, step] = [this.columns, this.height + GAP_PX];
    this.runway.style.height = `${Math.ceil(this.count / columns) * step}px`;
    const first = Math.max(0, Math.floor(this.element.scrollTop / step) - AHEAD_ROWS) * columns;
    const rows = Math.ceil(this.element.clientHeight / step) + 2 * AHEAD_ROWS + 1;
    const end = Math.min(this.count, first + rows * columns);
    this.retire((index) => index < first || index >= end);
    for (let index = first; index < end; index += 1) this.place(index, columns, step);
  }

  retire(gone) {
    for (const [index, item] of this.shown) {
      if (!gone(index)) continue;
      this.shown.delete(index);
      if (item === document.activeElement) this.element.focus({ preventScroll: true });
      item.hidden = true;
      this.spare.push(item);
    }
  }

  place(index, columns, step) {
    let item = this.shown.get(index);
    if (!item) {
      item = this.spare.pop() ?? this.added();
      item.hidden = false;
      item.dataset.index = index;
      this.shown.set(index, item);
      this.fill(item, index);
    }
    const across = Math.floor((index % columns) * (this.runway.clientWidth / columns)); // what room is left goes between
    item.style.transform = `translate(${across}px, ${Math.floor(index / columns) * step}px)`;
    item.style.width = `${this.width}px`;
    item.style.height = `${this.height}px`;
    item.tabIndex = index === this.active ? 0 : -1;
  }

  added() {
    const item = this.make();
    item.addEventListener("click", () => this.chosen(Number(item.dataset.index)));
    item.addEventListener("focus", () => this.activate(Number(item.dataset.index)));
    this.runway.append(item);
    return item;
  }

  chosen(index) {
    this.activate(index);
    this.choose(index);
  }

  /** Tab leads to one item alone; arrows lead from there to the others. */
  activate(index) {
    this.shown.get(this.active)?.setAttribute("tabindex", "-1");
    this.active = index;
    this.shown.get(index)?.setAttribute("tabindex", "0");
  }

  key(event) {
    const columns = this.columns;
    const page = columns * Math.max(1, Math.floor(this.element.clientHeight / (this.height + GAP_PX)));
    const steps = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: columns,
      ArrowUp: -columns,
      PageDown: page,
      PageUp: -page,
      Home: -this.count,
      End: this.count,
    };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey || !this.count) return;
    event.preventDefault();
    this.focus(Math.max(0, Math.min(this.count - 1, this.active + steps[event.key])));
  }

  /** Bring an item into sight and give it the focus. */
  focus(index) {
    const step = this.height + GAP_PX;
    const top = Math.floor(index / this.columns) * step;
    const seen = this.element.scrollTop;
    if (top < seen) this.element.scrollTop = top;
    else if (top + step > seen + this.element.clientHeight)
      this.element.scrollTop = top + step - this.element.clientHeight;
    this.activate(index);
    this.draw();
    this.shown.get(index)?.focus({ preventScroll: true });
  }
}
