// What runs, how far it is, whether the page is up to date, and what no one may miss.

import { h, say } from "./charts/dom.js";
import { duration } from "./charts/text.js";
import { trained } from "./state.js";

const CONNECTION = {
  connecting: "connecting",
  reading: "reading what happened so far",
  live: "live",
  replaying: "replaying",
  lost: "connection lost, trying again",
  retrying: "connection lost, trying again",
  failed: "no connection",
  hidden: "waits until it is seen",
};
const SYNTHETIC = "SYNTHETIC DATA: images drawn by a program. No figure here is about real data";

export class Header {
  constructor({ connection, progress, banners, notices }) {
    Object.assign(this, { connection, progress, banners, notices, skippedLines: 0 });
  }

  state(state) {
    this.connection.dataset.state = state;
    this.connected(false);
  }

  connected(finished) {
    const { state } = this.connection.dataset;
    say(this.connection, state === "live" && finished ? "complete" : CONNECTION[state]);
  }

  skipped(lines) {
    this.skippedLines = lines;
  }

  update(run) {
    say(this.progress, progressOf(run));
    this.connected(Boolean(run.finished));
    this.list(this.banners, bannersOf(run), (text) => h("p", { class: "banner", role: "alert" }, text));
    const plain = run.notices
      .filter((notice) => notice.level !== "banner")
      .map((one) => `${one.level}: ${one.message}`);
    const skipped = this.skippedLines
      ? [`${this.skippedLines} lines of the record are no events, and are left out`]
      : [];
    const dropped = run.dropped ? [`${run.dropped} older notices are left out here`] : [];
    const all = [...skipped, ...dropped, ...plain].reverse();
    this.list(this.notices, all.length ? all : ["none"], (text) => h("li", {}, text));
  }

  list(element, texts, make) {
    const wanted = JSON.stringify(texts);
    if (element.dataset.shows === wanted) return;
    element.dataset.shows = wanted;
    element.replaceChildren(...texts.map(make));
  }
}

function bannersOf(run) {
  const invalid = [...run.cells.values()].filter((cell) => cell.result && !cell.result.valid).map((cell) => cell.name);
  const told = run.notices.filter((notice) => notice.level === "banner").map((notice) => notice.message);
  const failed = invalid.length
    ? [`INVALID: ${invalid.join(", ")} failed a gate and does not count; the table says why`]
    : [];
  return [...new Set([...(run.started?.synthetic ? [SYNTHETIC] : []), ...failed, ...told])];
}

function progressOf(run) {
  const { started, finished, current } = run;
  if (!started) return "waiting for the run to begin";
  const spent = duration((finished ? finished.time_s : run.latest) - started.time_s);
  const done = [...run.cells.values()].filter((cell) => cell.result).length;
  if (finished) return `finished in ${spent}, ${finished.valid ? "valid" : "INVALID"}`;
  if (run.loading) return `${run.loading.what}, ${run.loading.done} of ${run.loading.total}`;
  if (!current) return `begins, ${spent} so far`;
  const place = started.cells.indexOf(current.name) + 1;
  if (!current.running) return `${done} of ${started.cells.length} cells finished, ${spent} so far`;
  return `cell ${place} of ${started.cells.length}: ${current.name}, ${phaseOf(current)}, ${spent} so far`;
}

function phaseOf(cell) {
  if (cell.preparing) return `${cell.preparing.what} ${cell.preparing.done}/${cell.preparing.total}`;
  if (trained(cell)) return "trained, attacks go on";
  return `round ${Math.min((cell.done ?? 0) + 1, cell.rounds)} of ${cell.rounds}`;
}
