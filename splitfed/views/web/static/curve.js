// A curve that stays short: a page left open over a long run keeps its shape, not each of its points.

const MOST = 400;

/** Points in their order; every other one goes when there are too many, and then new ones come half as densely. */
export class Curve {
  constructor() {
    this.points = [];
    this.stride = 1;
    this.seen = 0;
  }

  add(x, y) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) return;
    this.last = { x, y };
    if (this.seen++ % this.stride === 0) this.points.push(this.last);
    if (this.points.length < MOST) return;
    this.points = this.points.filter((_, place) => place % 2 === 0);
    this.stride *= 2;
  }

  /** All that is kept, and the last point in any case. */
  get all() {
    return !this.last || this.points.at(-1) === this.last ? this.points : [...this.points, this.last];
  }
}
