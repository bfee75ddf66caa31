// The wire: clients, what taps them, and the server, with what flows.

import { h, s, tableOf } from "./charts/dom.js";
import { MISSING, bytes, count } from "./charts/text.js";
import { trained } from "./state.js";

const MOST_DRAWN = 6;
const ROW_PX = 34;
/** Counts come every second while anything flows; older ones are of the past. */
const STALE_S = 3;
/** How far the dashes go on each time that the page is shown anew. */
const FLOW_PX = 4;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Wire {
  constructor(element) {
    this.vantage = "wire";
    this.flowed = 0;
    this.picture = h("div", { class: "wire-picture" });
    this.table = h("div", { class: "wide", tabindex: 0 });
    this.note = h("p", { class: "status" });
    element.append(this.picture, this.note, this.table);
    new ResizeObserver(() => this.draw()).observe(this.picture);
  }

  /** Where the attacker looks on: at the wire, or at the server. */
  seenFrom(vantage) {
    this.vantage = vantage;
    this.draw();
  }

  /** The cell that runs (or ran last), at this time of the run. */
  update(cell, now) {
    this.cell = cell;
    const clients = cell ? clientsOf(cell, now) : [];
    const counted = cell?.wire;
    const refused = d3.sum(Object.values(counted?.refused ?? {}));
    const reasons = Object.entries(counted?.refused ?? {}).map(([why, n]) => `${n} ${why}`);
    this.facts = {
      clients,
      sealed: counted?.sealed ?? false,
      refused,
      lost: clients.filter((one) => one.lost).length,
      moving: Boolean(cell?.running && clients.some((one) => one.up > 0)),
    };
    const broken = counted?.broken ? `, ${counted.broken} broken off` : "";
    this.note.textContent = cell
      ? `${count(refused)} refused${reasons.length ? ` (${reasons.join(", ")})` : ""}${broken}, ${this.facts.lost} lost`
      : "Nobody has connected yet.";
    this.table.replaceChildren(...(clients.length ? [tableOfClients(clients)] : []));
    this.draw();
    this.flow();
  }

  /** The dashes go on with what comes in: an animation would be drawn 60 times a second, at training's cost. */
  flow() {
    if (!this.facts.moving || still.matches) return;
    this.flowed -= FLOW_PX;
    this.picture.style.setProperty("--flowed", this.flowed);
  }

  draw() {
    const width = Math.floor(this.picture.clientWidth);
    if (!this.facts || width < 100) return;
    const drawn = drawWire(this.facts, this.vantage, width);
    const before = this.picture.firstChild;
    // what looks the same stays, so that the flow does not stutter
    if (before?.outerHTML !== drawn.outerHTML) this.picture.replaceChildren(drawn);
  }
}

/** Per client what flows now, in bytes a second, and what has flowed in this cell. */
function clientsOf(cell, now) {
  const before = new Map(cell.wireBefore?.clients.map((one) => [one.client, one]) ?? []);
  const seconds = cell.wireBefore ? cell.wire.time_s - cell.wireBefore.time_s : 0;
  const flows = cell.running && seconds > 0 && now - cell.wire.time_s < STALE_S;
  const lost = new Set(cell.wire?.lost ?? []);
  const counted = new Map(cell.wire?.clients.map((one) => [one.client, one]) ?? []);
  const numbers = new Set([...d3.range(cell.clientCount ?? 0), ...cell.clients.keys(), ...counted.keys()]);
  return [...numbers].map((number) => {
    const is = counted.get(number);
    const was = before.get(number);
    const rate = (name) => (is && was && flows ? Math.max(0, is[name] - was[name]) / seconds : NaN);
    const progress = cell.clients.get(number);
    return {
      number,
      up: rate("received_bytes"),
      down: rate("sent_bytes"),
      total: is?.received_bytes ?? progress?.sent_bytes,
      frames: is?.frames,
      step: progress?.steps && cell.running && !trained(cell) ? `${progress.step + 1}/${progress.steps}` : "",
      lost: progress?.lost ?? (lost.has(number) ? "lost" : null),
    };
  });
}

function rateOf(perSecond) {
  return Number.isFinite(perSecond) ? `${bytes(perSecond)}/s` : MISSING;
}

function tableOfClients(clients) {
  const rows = clients.map((one) => [
    `client ${one.number}`,
    one.lost ? h("span", { class: "failed", title: one.lost }, "lost") : one.step,
    rateOf(one.up),
    rateOf(one.down),
    count(one.frames),
    bytes(one.total),
  ]);
  return tableOf(null, ["", "step", "to server", "back", "frames", "sent so far"], rows);
}

function drawWire({ clients, sealed, moving, refused }, vantage, width) {
  const drawn = clients.slice(0, MOST_DRAWN);
  const rows = Math.max(drawn.length, 2);
  const middle = (rows * ROW_PX) / 2 + 8;
  const [left, tap, right] = [92, Math.round(width * 0.56), width - 78];
  const y = (place) => 8 + ROW_PX / 2 + place * ROW_PX + ((rows - drawn.length) * ROW_PX) / 2;
  const target = vantage === "server" ? right : tap;
  const lines = drawn.map((one, place) => {
    const path = `M${left} ${y(place)} C${(left + target) / 2} ${y(place)} ${(left + target) / 2} ${middle} ${target} ${middle}`;
    return [flow(path, one, moving), rateText(one, left + 8, y(place) + (y(place) > middle ? 14 : -5))];
  });
  const trunk = vantage === "server" ? [] : [flow(`M${tap} ${middle} L${right} ${middle}`, {}, moving)];
  const eye = vantage === "server" ? [right + 34, middle + 62] : [tap, middle + 62];
  const height = Math.max(eye[1], rows * ROW_PX) + 12;
  const label =
    vantage === "server"
      ? "the server is the attacker"
      : sealed
        ? "attacker: sees ciphertext"
        : "attacker: taps the wire";
  return s(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      "aria-label": spoken(clients, sealed, vantage, refused),
    },
    ...lines.flat(),
    ...trunk,
    s("path", { class: "tapped", d: `M${eye[0]} ${middle + 14} L${eye[0]} ${eye[1] - 16}` }),
    ...drawn.map((one, place) => node(46, y(place), 84, 24, `client ${one.number}`, one.lost ? "lost" : "")),
    clients.length > MOST_DRAWN
      ? s("text", { x: 46, y: y(drawn.length - 1) + 28, class: "small" }, `and ${clients.length - MOST_DRAWN} more`)
      : null,
    vantage === "server" ? null : node(tap, middle, 62, 26, sealed ? "relay 🔒" : "relay", ""),
    node(right + 34, middle, 72, 30, "server", ""),
    s("text", { x: Math.min(eye[0], width - 90), y: eye[1], class: "eye" }, `◉ ${label}`),
  );
}

function flow(path, { lost }, moving) {
  return s("path", { class: `flow${lost ? " off" : moving ? " moving" : ""}`, d: path });
}

function rateText(one, x, y) {
  const text = one.lost ? "lost" : one.up > 0 ? rateOf(one.up) : "";
  return s("text", { x, y, class: "rate" }, text);
}

function node(x, y, width, height, name, state) {
  return s(
    "g",
    { class: `node ${state}` },
    s("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: 4 }),
    s("text", { x, y: y + 4 }, name),
  );
}

function spoken(clients, sealed, vantage, refused) {
  const lost = clients.filter((one) => one.lost).map((one) => one.number);
  return [
    `${clients.length} clients send ${bytes(d3.sum(clients, (one) => one.up || 0))} a second to the server`,
    vantage === "server" ? "the server is the attacker" : "an attacker taps the relay between them",
    sealed ? "the wire is sealed by TLS" : "the wire is not sealed",
    `${refused} frames refused`,
    lost.length ? `lost: clients ${lost.join(", ")}` : "nobody lost",
  ].join("; ");
}
