// The page of one run: what comes in is taken at once, what is shown follows a few times a second.

import { Api } from "./api.js";
import { Cells } from "./cells.js";
import { Detail } from "./detail.js";
import { Header } from "./header.js";
import { Replay } from "./replay.js";
import { Science } from "./science.js";
import { RunState } from "./state.js";
import { Stream } from "./stream.js";
import { Wall } from "./wall.js";
import { WallStore } from "./wallstore.js";
import { Wire } from "./wire.js";

/** Between two times that the page is shown anew: on the machine that trains, drawing takes from the training. */
const SHOW_MS = 1000;
const SOON_MS = 50;

class Page {
  constructor(about) {
    const part = (id) => document.getElementById(id);
    this.api = new Api(about.id);
    this.run = new RunState();
    this.store = new WallStore(this.api, () => this.later());
    const shared = { run: () => this.run, store: this.store, api: this.api };
    this.header = new Header(
      Object.fromEntries(["connection", "progress", "banners", "notices"].map((id) => [id, part(id)])),
    );
    this.detail = new Detail(part("detail"), shared);
    const open = (numbers, index) => this.detail.show(numbers, index, this.wall.columns[0]?.cell);
    this.wall = new Wall(part("wall"), { ...shared, open, chosen: () => this.science.update() });
    this.wire = new Wire(part("wire"));
    this.science = new Science(part("science"), { ...shared, chosen: () => this.wall.cell.value });
    this.cells = new Cells(part("cells"));
    this.replay = new Replay(part("replay"), (speed) => this.begin(speed));
    this.stream = new Stream(this.api, {
      events: (events) => this.take(events),
      state: (state) => this.connected(state),
      skipped: (lines) => this.header.skipped(lines.count),
      restart: () => this.begin(null),
    });
    if (about.speed) this.replay.start(about.speed);
    else this.begin(null);
  }

  /** Start anew: the run as it is, or a replay at a speed. */
  begin(speed) {
    this.run = new RunState();
    this.store.clear();
    this.science.clear();
    this.load({ victims: true });
    this.stream.open({ speed });
    this.later();
  }

  /** How the connection is. Once the past is read, the wall is asked for as it is now. */
  connected(state) {
    this.header.state(state);
    if (state === "live" && !this.replay.playing) this.load({});
  }

  load(what) {
    this.store.load(what).catch((error) => this.failed(error));
  }

  failed(error) {
    this.run.notice("warning", error.message);
    this.later();
  }

  /** Cells have begun or finished: ask for what is to be compared with, and what they gave. */
  async refresh() {
    try {
      const overview = await this.api.overview();
      this.science.tell(overview);
      this.wire.seenFrom(overview.vantage ?? "wire");
    } catch (error) {
      this.failed(error);
    }
  }

  take(events) {
    for (const event of events) {
      this.run.apply(event);
      this.store.apply(event);
    }
    if (events.some((event) => ["CellStarted", "CellFinished"].includes(event.event))) this.refresh();
    if (events.some((event) => event.event === "RunFinished")) this.replay.ended();
    this.later();
  }

  later() {
    if (this.waiting) return;
    const pause = Math.max(SOON_MS, (this.shown ?? -SHOW_MS) + SHOW_MS - performance.now());
    this.waiting = setTimeout(() => requestAnimationFrame(() => this.show()), pause);
  }

  show() {
    this.waiting = null;
    this.shown = performance.now();
    this.header.update(this.run);
    this.wall.update();
    this.wire.update(this.run.current, this.run.latest);
    this.cells.update(this.run);
    this.science.update();
    this.replay.update(this.run);
    document.body.dataset.events = this.run.events;
  }
}

new Page(JSON.parse(document.getElementById("run").textContent));
