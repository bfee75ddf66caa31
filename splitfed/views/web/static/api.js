// What the page asks of the server that it came from.

/** Answers on one run. */
export class Api {
  constructor(run) {
    this.base = `/api/runs/${encodeURIComponent(run)}`;
    this.files = `/runs/${encodeURIComponent(run)}/files/`;
  }

  /** Where the events come from; from the one after this id, or all at this speed. */
  events({ from = null, speed = null } = {}) {
    const query = new URLSearchParams();
    if (from !== null) query.set("from", from);
    if (speed !== null) query.set("speed", speed);
    return `${this.base}/events${query.size ? `?${query}` : ""}`;
  }

  /** The address of a picture below the run's directory. */
  picture(path) {
    return this.files + path.split("/").map(encodeURIComponent).join("/");
  }

  /** The address of a sheet of originals. */
  original(sheet) {
    return this.picture(`wall/${sheet}`);
  }

  /** What pictures there are; of one cell alone where it is named. */
  wall(cell = null) {
    return answer(`${this.base}/wall${cell === null ? "" : `?${new URLSearchParams({ cell })}`}`);
  }

  final(cell, attack) {
    return answer(`${this.base}/final?${new URLSearchParams({ cell, attack })}`);
  }

  victim(number) {
    return answer(`${this.base}/victim/${number}`);
  }

  results() {
    return answer(`${this.base}/results`, { missing: null });
  }

  figures() {
    return answer(`${this.base}/figures`, { missing: [] });
  }
}

/** The JSON at this address; `missing` where there is none yet, an error with what the server says otherwise. */
export async function answer(address, options = {}) {
  const response = await fetch(address, { headers: { Accept: "application/json" } });
  const text = await response.json().catch(() => ({ error: `${address} answered ${response.status}` }));
  if (response.ok) return text;
  if (response.status === 404 && "missing" in options) return options.missing;
  throw new Error(text.error ?? `${address} answered ${response.status}`);
}
