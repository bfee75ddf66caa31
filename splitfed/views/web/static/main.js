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

const SHOW_MS = 400;

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
    this.wall = new Wall(part("wall"), { ...shared, open });
    this.wire = new Wire(part("wire"), { vantage: about.vantage ?? "wire" });
    this.science = new Science(part("science"), shared);
    this.cells = new Cells(part("cells"));
    this.replay = new Replay(part("replay"), (speed) => this.begin(speed));
    this.load(false);
    this.stream = new Stream(this.api, {
      events: (events) => this.take(events),
      state: (state) => this.header.state(state),
      skipped: (lines) => this.header.skipped(lines.count ?? lines),
    });
  }

  /** Start anew: the run as it is, or a replay at a speed. */
  begin(speed) {
    this.run = new RunState();
    this.store.clear();
    this.load(speed !== null);
    this.stream.open({ speed });
    this.later();
  }

  load(replayed) {
    this.store.load({ only: replayed }).catch((error) => this.run.notice("warning", error.message));
    this.refresh();
  }

  refresh() {
    this.science.refresh().catch((error) => this.run.notice("warning", error.message));
  }

  take(events) {
    for (const event of events) {
      this.run.apply(event);
      this.store.apply(event);
    }
    if (events.some((event) => event.event === "CellFinished")) this.refresh();
    if (events.some((event) => event.event === "RunFinished")) this.replay.ended();
    this.later();
  }

  later() {
    this.waiting ??= setTimeout(() => requestAnimationFrame(() => this.show()), SHOW_MS);
  }

  show() {
    this.waiting = null;
    const invalid = [...this.run.cells.values()].filter((cell) => cell.result && !cell.result.valid);
    this.header.update(
      this.run,
      invalid.map((cell) => cell.name),
    );
    this.wall.update();
    this.wire.update(this.run.current);
    this.cells.update(this.run);
    this.science.update();
    this.replay.update(this.run);
    document.body.dataset.events = this.run.events;
  }
}

new Page(JSON.parse(document.getElementById("run").textContent));
