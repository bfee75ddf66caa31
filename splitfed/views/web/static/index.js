// The list of runs, brought up to date while it is open.

import { answer } from "./api.js";
import { h, say } from "./charts/dom.js";

const AGAIN_MS = 5000;
const VERDICT = new Map([
  [true, "valid"],
  [false, "INVALID"],
]);

const rows = document.getElementById("runs");
const status = document.getElementById("connection");

async function refresh() {
  try {
    show(await answer("/api/runs"));
    say(status, "up to date");
  } catch {
    say(status, "connection lost, trying again");
  }
  setTimeout(refresh, AGAIN_MS);
}

function show(runs) {
  const wanted = JSON.stringify(runs);
  if (rows.dataset.shows === wanted) return;
  rows.dataset.shows = wanted;
  rows.replaceChildren(...runs.map(rowOf));
  document.getElementById("none").hidden = runs.length > 0;
}

function rowOf(run) {
  const link = h("a", { href: `/run/${encodeURIComponent(run.id)}` }, run.id);
  return h(
    "tr",
    { class: run.valid === false ? "invalid" : "" },
    h("th", { scope: "row" }, link),
    h("td", { class: "left" }, run.scenario),
    h("td", { class: "left" }, h("span", { class: `state ${run.state}` }, run.state)),
    h("td", {}, run.of ? `${run.cells} of ${run.of}` : String(run.cells)),
    h("td", { class: "left" }, VERDICT.get(run.valid) ?? ""),
    h(
      "td",
      {},
      String(run.created ?? "")
        .slice(0, 16)
        .replace("T", " "),
    ),
  );
}

refresh();
