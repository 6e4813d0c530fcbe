// Requests to the server, and its refusals as sentences in the page's language.

import * as format from "./format.js";
import { has, text } from "./texts.js";

/** What the server does not do: its code, the numbers in its sentence, and the sentence itself, in English. */
export class Refused extends Error {
  constructor({ code, values = {}, error = "" }) {
    super(error || code);
    Object.assign(this, { code, values, error });
  }

  /** Whether it says nothing of what was asked: nobody answered, or the server itself failed. Ask again. */
  get passing() {
    return ["unreachable", "unknown", "error"].includes(this.code);
  }

  /** The body of an answer, if it is a refusal; or what stands for one. */
  static from(body) {
    try {
      const { code, values, error } = JSON.parse(body);
      if (typeof code === "string") return new Refused({ code, values, error });
    } catch {
      // a reverse proxy's page, perhaps
    }
    return new Refused({ code: "unknown" });
  }
}

const SHOWN = {
  too_large: format.bytes,
  quota: format.bytes,
  too_long: format.span,
  too_many_pixels: (limit) => text("pixels.limit", { count: format.large(limit) }),
};

/** A refusal for people: {text, lang}; lang only where the server's own sentence has to do. */
export function explained({ code, values = {}, error }) {
  const key = `refusal.${code}`;
  const show = SHOWN[code] ?? format.count;
  const shown = Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, typeof value === "number" ? show(value) : value]),
  );
  if (has(key)) {
    const said = text(key, shown);
    if (!/\{\w+\}/.test(said)) return { text: said };
  }
  return error ? { text: error, lang: "en" } : { text: text("refusal.unknown") };
}

/** Any error for people. */
export const told = (error) => explained(error instanceof Refused ? error : { code: "unknown" });

/** Ask the server; the answer's JSON, or null. Throws Refused. */
export async function request(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refused({ code: "unreachable" });
  }
  if (!answer.ok) throw Refused.from(await answer.text());
  return answer.status === 204 ? null : answer.json();
}
