// The run's events as they come: the past first, in bundles, then each new one. A lost connection goes on where it was.

const EVENTS = [
  "RunStarted",
  "Notice",
  "CellStarted",
  "PrepareProgress",
  "ClientProgress",
  "ClientLost",
  "RoundFinished",
  "AttackProgress",
  "WallMoment",
  "WallFinished",
  "WireCounted",
  "CellFinished",
  "CellUnfinished",
  "RunFinished",
];
const PATIENCE_MS = [1000, 2000, 5000, 10000];

/** Follows the events of one run once it is opened. Calls `listener.events` with lists of events, `.state` with what
 * became of the connection, `.skipped` with counts, `.restart` where the record is another one than before.
 * A page that nobody sees gives its connection back, for a browser has six of them for one server: one tab each. */
export class Stream {
  constructor(api, listener) {
    this.api = api;
    this.listener = listener;
    this.speed = null;
    this.last = null;
    this.tries = 0;
    document.addEventListener("visibilitychange", () => this.follow());
  }

  /** Start anew: the whole run, or a replay at a speed. */
  open({ speed = null }) {
    this.close();
    this.speed = speed;
    this.last = null;
    this.tries = 0;
    this.follow();
  }

  /** Be connected while the page is seen; a replay goes on unseen, as it cannot be taken up where it was left. */
  follow() {
    if (!document.hidden || this.speed !== null) {
      if (!this.source) this.connect();
      return;
    }
    this.close();
    this.listener.state("hidden");
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  connect() {
    this.listener.state(this.tries ? "retrying" : "connecting");
    const source = new EventSource(this.api.events({ from: this.last, speed: this.speed }));
    const take = (events, message) => {
      if (source !== this.source) return;
      // what was seen is not taken again, whatever a server that came back sends; a replay's ids may begin anew
      if (this.last !== null && Number(message.lastEventId) <= Number(this.last)) return;
      this.last = message.lastEventId || this.last;
      this.listener.events(events);
    };
    this.source = source;
    source.addEventListener("history", (message) => take(JSON.parse(message.data), message));
    for (const name of EVENTS) source.addEventListener(name, (message) => take([JSON.parse(message.data)], message));
    source.addEventListener("skipped", (message) => this.listener.skipped(JSON.parse(message.data)));
    source.addEventListener("restart", () => source === this.source && this.listener.restart());
    source.addEventListener("live", () => this.listener.state("live"));
    source.addEventListener("open", () => {
      this.tries = 0;
      this.listener.state(this.speed === null ? (this.last === null ? "reading" : "live") : "replaying");
    });
    source.addEventListener("error", () => this.failed(source));
  }

  /** The browser tries again by itself, unless it was turned away: then this does. */
  failed(source) {
    if (source !== this.source) return;
    this.listener.state("lost");
    if (source.readyState !== EventSource.CLOSED) return;
    const wait = PATIENCE_MS[Math.min(this.tries, PATIENCE_MS.length - 1)];
    this.tries += 1;
    this.timer = setTimeout(() => this.connect(), wait);
  }
}
