// Numbers, sizes, times and dates as the page's language writes them.

import { current, text } from "./texts.js";

const formats = new Map();

function number(value, options = {}) {
  const key = current() + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(current(), options));
  return formats.get(key).format(value);
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

/** Bytes; in steps of 1024, so that a limit of 4G is told as 4 GB. */
export function bytes(value) {
  let step = 0;
  while (value >= 1000 && step < UNITS.length - 1) [value, step] = [value / 1024, step + 1];
  const digits = step > 0 && value < 10 ? 1 : 0;
  return number(value, { style: "unit", unit: UNITS[step], unitDisplay: "short", maximumFractionDigits: digits });
}

/** A count. */
export const count = (value, digits = 0) => number(value, { maximumFractionDigits: digits });

/** A large count in words: 9.4 million. */
export const large = (value) =>
  number(value, { notation: "compact", compactDisplay: "long", maximumFractionDigits: 1 });

/** 0.25 as 25%. */
export const percent = (share) => number(share, { style: "percent" });

/** 2560 × 1440. */
export const pixels = ({ width, height }) =>
  text("pixels", { width: number(width, { useGrouping: false }), height: number(height, { useGrouping: false }) });

/** A place in a film: 1:02:03, or 0:02.7 with a tenth. */
export function clock(seconds, tenths = false) {
  const digits = tenths ? 1 : 0;
  const all = Number(seconds.toFixed(digits));
  const [hours, minutes] = [Math.floor(all / 3600), Math.floor((all % 3600) / 60)];
  const two = (value, fraction = 0) =>
    number(value, { minimumIntegerDigits: 2, minimumFractionDigits: fraction, maximumFractionDigits: fraction });
  const rest = two(all % 60, digits);
  return hours ? `${count(hours)}:${two(minutes)}:${rest}` : `${count(minutes)}:${rest}`;
}

const unit = (value, name) =>
  number(value, { style: "unit", unit: name, unitDisplay: "long", maximumFractionDigits: 0 });

/** A length of time in words, the two largest units: 1 hour 5 minutes. */
export function span(seconds) {
  const all = Math.max(Math.round(seconds), 1);
  const parts = [
    [Math.floor(all / 86400), "day"],
    [Math.floor(all / 3600) % 24, "hour"],
    [Math.floor(all / 60) % 60, "minute"],
    [all % 60, "second"],
  ];
  if (all === 86400) return unit(24, "hour");
  const first = parts.findIndex(([value]) => value > 0);
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, name]) => unit(value, name))
    .join(" ");
}

/** How long something still takes, as roughly as it is known: about 3 minutes left. */
export function left(seconds) {
  if (seconds < 8) return text("left.moment");
  const step = seconds < 60 ? 10 : seconds < 3600 ? 60 : 600;
  return text("left.about", { time: span(Math.round(seconds / step) * step || step) });
}

/** Words that stay on one line. */
export const unbroken = (said) => said.replaceAll(" ", "\u00a0");

/** A date with its time of day, and how far away that is: Nov 22, 2:05 PM (in 23 hours). */
export function moment(epoch) {
  const when = new Date(epoch * 1000);
  const date = new Intl.DateTimeFormat(current(), { dateStyle: "medium", timeStyle: "short" }).format(when);
  const minutes = Math.round((when - Date.now()) / 60000);
  const relative = new Intl.RelativeTimeFormat(current(), { numeric: "auto" });
  const far = Math.abs(minutes) < 100 ? relative.format(minutes, "minute") : relative.format(Math.round(minutes / 60), "hour");
  return `${date} (${unbroken(far)})`;
}
