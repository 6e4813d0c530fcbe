// Requests to the server, and its errors as sentences in the page's language.

import * as format from "./format.js";
import { hasText, text } from "./texts.js";

/** An error response: its code, the numbers in its message, and the message itself, in English. */
export class ApiError extends Error {
  constructor({ code, values = {}, error = "" }) {
    super(error || code);
    Object.assign(this, { code, values, error });
  }

  /** Whether the same request may succeed later: the server did not answer, or failed itself. */
  get isTemporary() {
    return ["unreachable", "unknown", "error"].includes(this.code);
  }

  /** Parse the body of an error response; code "unknown" if it is none. */
  static fromBody(body) {
    try {
      const { code, values, error } = JSON.parse(body);
      if (typeof code === "string") return new ApiError({ code, values, error });
    } catch {
      // a reverse proxy's page, perhaps
    }
    return new ApiError({ code: "unknown" });
  }
}

const FORMATTERS = {
  too_large: format.bytes,
  quota: format.bytes,
  too_long: format.duration,
  too_many_pixels: (limit) => text("pixels.limit", { count: format.largeCount(limit) }),
};

/** Localize {code, values, error}: return {text, lang}, with lang only for a message in English. */
export function localizeMessage({ code, values = {}, error }) {
  const key = `error.${code}`;
  const formatValue = FORMATTERS[code] ?? format.count;
  const formatted = Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, typeof value === "number" ? formatValue(value) : value]),
  );
  if (hasText(key)) {
    const localized = text(key, formatted);
    if (!/\{\w+\}/.test(localized)) return { text: localized };
  }
  return error ? { text: error, lang: "en" } : { text: text("error.unknown") };
}

/** Localize any exception. */
export const localizeError = (error) => localizeMessage(error instanceof ApiError ? error : { code: "unknown" });

/** Send a request; return the JSON of the response, or null. Throw ApiError. */
export async function request(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ApiError({ code: "unreachable" });
  }
  if (!response.ok) throw ApiError.fromBody(await response.text());
  return response.status === 204 ? null : response.json();
}
