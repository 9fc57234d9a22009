// How numbers, times and shares are written in the console. Times arrive as nanoseconds since the epoch.

const NS_PER_MS = 1e6;

/** Nanoseconds since the epoch as milliseconds with fraction. */
export const toMs = (ns) => ns / NS_PER_MS;

/** Local time with milliseconds. */
export function clock(ns) {
  const date = new Date(toMs(ns));
  const pad = (value, digits = 2) => String(value).padStart(digits, "0");
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
}

/** Local time; with its date when that is not today, and then without milliseconds. */
export function moment(ns) {
  const date = new Date(toMs(ns));
  if (date.toDateString() === new Date().toDateString()) return clock(ns);
  const pad = (value) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${clock(ns).slice(0, 8)}`;
}

/** The same instant in UTC, for a title. */
export const utc = (ns) => new Date(toMs(ns)).toISOString();

/** A length in nanoseconds in its most readable unit. */
export function span(ns) {
  const ms = toMs(ns);
  if (ms < 1) return `${(ns / 1e3).toFixed(0)} µs`;
  if (ms < 1000) return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
  const seconds = ms / 1000;
  if (seconds < 120) return `${+seconds.toFixed(1)} s`;
  const minutes = seconds / 60;
  if (minutes < 60) return `${+minutes.toFixed(1)} min`;
  const hours = minutes / 60;
  return hours < 48 ? `${+hours.toFixed(1)} h` : `${+(hours / 24).toFixed(1)} d`;
}

/** Milliseconds between two instants with a sign, as in "+142 ms". */
export function offset(ns, originNs) {
  const ms = toMs(ns - originNs);
  const sign = ms < 0 ? "−" : "+";
  return Math.abs(ms) < 5_000 ? `${sign}${Math.abs(ms).toFixed(0)} ms` : `${sign}${(Math.abs(ms) / 1000).toFixed(1)} s`;
}

/** A weight in units of 0.01 %. */
export const weight = (basisPoints) => `${+(basisPoints / 100).toFixed(2)} %`;

/** A share between 0 and 1; a dash when nothing was measured. */
export const share = (value, digits = 2) =>
  value === null || value === undefined ? "—" : `${(value * 100).toFixed(digits).replace("-", "−")} %`;

/** A share that a person reads at a glance: as many digits as it takes to tell it from nothing. */
export const about = (value) =>
  value === null ? "—" : value > 0 && value < 0.0001 ? "under 0.01 %" : `${+(value * 100).toPrecision(2)} %`;

/** An e-value from its natural logarithm: how many times likelier the evidence is if the release is worse. */
export const likelihood = (ln) =>
  ln < Math.log(1e6) ? count(Math.round(Math.exp(ln))) : `10^${(ln / Math.LN10).toFixed(1)}`;

/** Share of bad events of {good, bad}; null when there were none. */
export const badShare = ({ good, bad }) => (good + bad > 0 ? bad / (good + bad) : null);

/** A count with thousands separated. */
export const count = (value) => value.toLocaleString("en");

/** What an objective's indicator is, in words. */
export const sli = (value) => (value.kind === "latency" ? `answered within ${span(value.threshold)}` : "answered without failure");
