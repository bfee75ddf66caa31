// What a run's events add up to, as far as the page shows it. It never fails on an event, and stays small.

import { Curve } from "./curve.js";

const MOST_NOTICES = 100;

/** A run as its events tell it; feed them in their order. */
export class RunState {
  constructor() {
    this.started = null;
    this.loading = null;
    this.cells = new Map();
    this.notices = [];
    this.dropped = 0;
    this.finished = null;
    this.latest = 0;
    this.events = 0;
  }

  /** The cell under way that started first; where none is, the last that started. */
  get current() {
    const all = [...this.cells.values()];
    return all.find((cell) => cell.running) ?? all.at(-1) ?? null;
  }

  /** Take in one event. */
  apply(event) {
    this.events += 1;
    this.latest = event.time_s ?? this.latest;
    TAKE[event.event]?.(this, event);
  }

  notice(level, message, time_s) {
    this.notices.push({ level, message, time_s });
    if (this.notices.length <= MOST_NOTICES) return;
    const place = this.notices.findIndex((one) => one.level !== "banner");
    this.notices.splice(Math.max(place, 0), 1);
    this.dropped += 1;
  }
}

/** Whether all rounds of a cell are done, so that only the attacks go on. */
export function trained(cell) {
  return (cell.done ?? 0) >= cell.rounds;
}

function cellOf({ cell, defense, seed, rounds, clients, time_s }) {
  return {
    name: cell,
    defense,
    seed,
    rounds,
    clientCount: clients,
    since: time_s,
    running: true,
    preparing: null,
    round: 0,
    accuracy: new Curve(),
    loss: new Curve(),
    clients: new Map(),
    attacks: new Map(),
    wire: null,
    wireBefore: null,
    result: null,
    unfinished: null,
  };
}

function attackOf(cell, name) {
  if (!cell.attacks.has(name))
    cell.attacks.set(name, { name, psnr_db: new Curve(), ssim: new Curve(), reid_top1: new Curve(), latest: null });
  return cell.attacks.get(name);
}

function clientOf(cell, number) {
  if (!cell.clients.has(number)) cell.clients.set(number, { number, step: 0, steps: 0, lost: null });
  return cell.clients.get(number);
}

const TAKE = {
  RunStarted(run, event) {
    run.started = event;
    run.finished = null;
    for (const cell of run.cells.values()) cell.running = false;
  },
  Notice(run, event) {
    run.notice(event.level ?? "warning", event.message, event.time_s);
  },
  CellStarted(run, event) {
    run.cells.set(event.cell, cellOf(event));
    run.loading = null;
  },
  PrepareProgress(run, event) {
    const unfinished = event.done < event.total ? event : null;
    const cell = run.cells.get(event.cell);
    if (cell) cell.preparing = unfinished;
    else run.loading = unfinished;
  },
  ClientProgress(run, event) {
    const cell = run.cells.get(event.cell);
    if (!cell) return;
    cell.preparing = null;
    cell.round = Math.max(cell.round, event.round);
    Object.assign(clientOf(cell, event.client), event, { lost: null });
  },
  ClientLost(run, event) {
    const cell = run.cells.get(event.cell);
    if (!cell) return;
    clientOf(cell, event.client).lost = event.reason;
    run.notice("warning", `client ${event.client} was lost in round ${event.round}: ${event.reason}`, event.time_s);
  },
  RoundFinished(run, event) {
    const cell = run.cells.get(event.cell);
    if (!cell) return;
    cell.round = Math.max(cell.round, event.round);
    cell.done = event.round;
    cell.accuracy.add(event.round, event.accuracy);
    cell.loss.add(event.round, event.loss);
  },
  AttackProgress(run, event) {
    const cell = run.cells.get(event.cell);
    if (!cell) return;
    const attack = attackOf(cell, event.attack);
    attack.latest = event;
    for (const name of ["psnr_db", "ssim", "reid_top1"]) attack[name].add(event.time_s - cell.since, event[name]);
  },
  WireCounted(run, event) {
    const cell = run.cells.get(event.cell);
    if (!cell) return;
    cell.wireBefore = cell.wire;
    cell.wire = event;
  },
  CellFinished(run, event) {
    const cell = run.cells.get(event.cell) ?? cellOf({ ...event.result, time_s: event.time_s });
    run.cells.set(event.cell, cell);
    cell.running = false;
    cell.result = event.result;
  },
  CellUnfinished(run, event) {
    const cell = run.cells.get(event.cell);
    if (cell) Object.assign(cell, { running: false, unfinished: event.reason });
    run.notice("warning", `${event.cell} is unfinished: ${event.reason}`, event.time_s);
  },
  RunFinished(run, event) {
    run.finished = { valid: event.valid, time_s: event.time_s };
    run.baselines = event.results?.baselines ?? run.baselines;
    for (const cell of run.cells.values()) cell.running = false;
  },
};
