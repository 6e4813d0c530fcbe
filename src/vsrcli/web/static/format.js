// Numbers, sizes, times and dates in the format of the page's language.

import { currentLanguage, text } from "./texts.js";

const formats = new Map();

function number(value, options = {}) {
  const key = currentLanguage() + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(currentLanguage(), options));
  return formats.get(key).format(value);
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

/** Bytes; in steps of 1024, so that a limit of 4G is shown as 4 GB. */
export function bytes(value) {
  let step = 0;
  while (value >= 1000 && step < UNITS.length - 1) [value, step] = [value / 1024, step + 1];
  const digits = step > 0 && value < 10 ? 1 : 0;
  return number(value, { style: "unit", unit: UNITS[step], unitDisplay: "short", maximumFractionDigits: digits });
}

/** A number with at most so many digits after the point. */
export const count = (value, digits = 0) => number(value, { maximumFractionDigits: digits });

/** Frames per second, with the digits that say something: 12, 3.1, 0.042. */
export const rate = (value) =>
  number(value, value < 1 ? { maximumSignificantDigits: 2 } : { maximumFractionDigits: value < 10 ? 1 : 0 });

/** A large count: 9.4 million. */
export const largeCount = (value) =>
  number(value, { notation: "compact", compactDisplay: "long", maximumFractionDigits: 1 });

/** 0.25 as 25%. */
export const percent = (fraction) => number(fraction, { style: "percent" });

/** 2560 × 1440. */
export const resolution = ({ width, height }) =>
  text("resolution", { width: number(width, { useGrouping: false }), height: number(height, { useGrouping: false }) });

/** A position in a video: 1:02:03, or 0:02.7 with tenths. */
export function timestamp(seconds, withTenths = false) {
  const digits = withTenths ? 1 : 0;
  const total = Number(seconds.toFixed(digits));
  const [hours, minutes] = [Math.floor(total / 3600), Math.floor((total % 3600) / 60)];
  const twoDigits = (value, fraction = 0) =>
    number(value, { minimumIntegerDigits: 2, minimumFractionDigits: fraction, maximumFractionDigits: fraction });
  const remainder = twoDigits(total % 60, digits);
  return hours ? `${count(hours)}:${twoDigits(minutes)}:${remainder}` : `${count(minutes)}:${remainder}`;
}

const unit = (value, name) =>
  number(value, { style: "unit", unit: name, unitDisplay: "long", maximumFractionDigits: 0 });

/** A duration in its two largest units: 1 hour 5 minutes. */
export function duration(seconds) {
  const total = Math.max(Math.round(seconds), 1);
  const parts = [
    [Math.floor(total / 86400), "day"],
    [Math.floor(total / 3600) % 24, "hour"],
    [Math.floor(total / 60) % 60, "minute"],
    [total % 60, "second"],
  ];
  if (total === 86400) return unit(24, "hour");
  const first = parts.findIndex(([value]) => value > 0);
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, name]) => unit(value, name))
    .join(" ");
}

/** Remaining time, rounded to what is known: about 3 minutes left. */
export function remainingTime(seconds) {
  if (seconds < 8) return text("eta.seconds");
  const step = seconds < 60 ? 10 : seconds < 3600 ? 60 : 600;
  return text("eta.about", { time: duration(Math.round(seconds / step) * step || step) });
}

/** A text that stays on one line. */
export const nonBreaking = (content) => content.replaceAll(" ", "\u00a0");

/** Date, time of day and distance: Nov 22, 2:05 PM (in 23 hours). */
export function dateTime(epoch) {
  const when = new Date(epoch * 1000);
  const date = new Intl.DateTimeFormat(currentLanguage(), { dateStyle: "medium", timeStyle: "short" }).format(when);
  const minutes = Math.round((when - Date.now()) / 60000);
  const format = new Intl.RelativeTimeFormat(currentLanguage(), { numeric: "auto" });
  const distance =
    Math.abs(minutes) < 100 ? format.format(minutes, "minute") : format.format(Math.round(minutes / 60), "hour");
  return `${date} (${nonBreaking(distance)})`;
}
