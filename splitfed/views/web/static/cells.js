// The table of cells: what each came to, whether it counts, and why not.

import { h } from "./charts/dom.js";
import { MISSING, number, percent } from "./charts/text.js";

const COLUMNS = ["cell", "verdict", "accuracy ↑", "PSNR dB ↓", "SSIM ↓", "re-id ↓", "strongest"];

export class Cells {
  constructor(element) {
    this.rows = h("tbody");
    const header = h(
      "tr",
      {},
      ...COLUMNS.map((title, place) => h("th", { scope: "col", class: place < 2 && "left" }, title)),
    );
    const caption = h(
      "caption",
      {},
      "Scores of the strongest attack; re-id is the highest of any. Arrows point to what is better for the defender.",
    );
    element.append(
      h("div", { class: "wide", tabindex: 0 }, h("table", {}, caption, h("thead", {}, header), this.rows)),
    );
  }

  update(run) {
    const names = [...new Set([...(run.started?.cells ?? []), ...run.cells.keys()])];
    const earlier = new Set(run.started?.finished ?? []);
    const rows = names.map((name) => rowOf(name, run.cells.get(name), earlier.has(name)));
    const text = JSON.stringify(rows);
    if (text === this.text) return;
    this.text = text;
    this.rows.replaceChildren(...rows.map(drawn));
  }
}

function rowOf(name, cell, earlier) {
  const result = cell?.result;
  const score = result?.attacks[result.strongest];
  const told = score && [number(score.psnr_db, 1), number(score.ssim, 3), percent(result.reid ?? score.reid_top1)];
  return {
    name,
    verdict: verdictOf(cell, earlier),
    cells: [number(result?.accuracy ?? cell?.accuracy.last?.y, 3), ...(told ?? [MISSING, MISSING, MISSING])],
    strongest: result ? (result.strongest ?? (result.sealed ? "sealed" : MISSING)) : MISSING,
    failed: Object.entries(result?.gates ?? {})
      .filter(([, passed]) => !passed)
      .map(([gate]) => `${gate.replaceAll("_", " ")}: ${result.gate_details[gate] || "failed"}`),
  };
}

/** Whether it counts; of a cell that is not done, how far it is. */
function verdictOf(cell, earlier) {
  if (!cell) return earlier ? "finished before" : "waits";
  if (cell.result) return cell.result.valid ? "valid" : "INVALID";
  if (cell.unfinished) return "unfinished";
  if (!cell.running) return "stopped";
  if (cell.preparing) return cell.preparing.what;
  if ((cell.done ?? 0) >= cell.rounds) return "attacks go on";
  return `round ${Math.min((cell.done ?? 0) + 1, cell.rounds)} of ${cell.rounds}`;
}

function drawn(row) {
  const css = row.verdict === "INVALID" ? "invalid" : "";
  const main = h(
    "tr",
    { class: css },
    h("th", { scope: "row" }, row.name),
    h("td", { class: "left" }, row.verdict),
    ...row.cells.map((cell) => h("td", {}, cell)),
    h("td", {}, row.strongest),
  );
  if (!row.failed.length) return main;
  const why = h(
    "td",
    { colspan: COLUMNS.length, class: "left why" },
    `${row.name} does not count. Gate failed: ${row.failed.join("; ")}`,
  );
  const both = document.createDocumentFragment();
  both.append(main, h("tr", { class: css }, why));
  return both;
}
