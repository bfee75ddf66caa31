// Numbers as short text, as the tables of the command line write them.

export const MISSING = "—";
const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** A number with fixed digits, or a dash where there is none. */
export function number(value, digits) {
  return Number.isFinite(value) ? value.toFixed(digits) : MISSING;
}

/** A whole number with its thousands apart. */
export function count(value) {
  return Number.isFinite(value) ? Math.round(value).toLocaleString("en") : MISSING;
}

/** A share of 1 as percent. */
export function percent(share) {
  return Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : MISSING;
}

/** Bytes in the largest decimal unit that leaves a digit. */
export function bytes(value) {
  if (!Number.isFinite(value)) return MISSING;
  const power = Math.min(Math.max(0, Math.floor(Math.log10(Math.max(value, 1)) / 3)), UNITS.length - 1);
  const scaled = value / 1000 ** power;
  return `${power ? scaled.toPrecision(3) : Math.round(scaled)} ${UNITS[power]}`;
}

/** Seconds as one reads a clock. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (part) => String(part).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)} min`;
  return `${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))} h`;
}

/** A value of a chart: as many digits as say something. */
export function short(value) {
  if (!Number.isFinite(value)) return MISSING;
  return Math.abs(value) >= 1000 ? count(value) : String(Number(value.toPrecision(3)));
}
