// One file on its way to the server, by tus: it goes on after a broken connection, a reload, a restart.

import { Refused } from "./server.js";

/* global tus */

const PIECE = 32 * 2 ** 20; // bytes of one request, so that proxies with a limit let it pass
const DELAYS = [300, 1000, 2000, 4000, ...Array(150).fill(5000)]; // milliseconds; twelve minutes in all
const PREFIX = "vsr-";
const WORDLESS = { 401: "session", 404: "not_found", 410: "gone" }; // answers to HEAD carry no words
let serial = 0;

/** What a file is known by when it is chosen again. */
const fingerprint = (file) => PREFIX + [file.name, file.type, file.size, file.lastModified].join("-");

/** Uploads that this browser remembers to have begun: [{id, key, ...tus' record}]. */
async function remembered() {
  const all = await tus.defaultOptions.urlStorage.findAllUploads();
  return all
    .filter(({ urlStorageKey, uploadUrl }) => urlStorageKey.startsWith(`tus::${PREFIX}`) && uploadUrl)
    .map((record) => ({ ...record, id: idOf(record.uploadUrl) }));
}

const idOf = (url) => url.split("/").at(-1);

/** Forget uploads that the server does not know any more. */
export async function forgetOthers(known, films) {
  for (const { id, urlStorageKey } of known) {
    if (!films.some((film) => film.id === id)) await tus.defaultOptions.urlStorage.removeUpload(urlStorageKey);
  }
}

/** The film among those begun that this file belongs to; with how the browser remembers it. */
export async function begun(file, films) {
  const records = await remembered();
  for (const film of films) {
    const record = records.find(({ id }) => id === film.id);
    const same = record
      ? record.urlStorageKey.startsWith(`tus::${fingerprint(file)}::`)
      : film.name === file.name && film.size === file.size;
    if (same) return { film, record };
  }
  return null;
}

export { remembered };

/** An upload. state: waiting, sending, paused, retrying, stopped, checking, refused, done or cancelled. */
export class Sending {
  #upload = null;
  #pace = [];
  #onChange;

  constructor(file, onChange, { film, record } = {}) {
    this.file = file;
    this.key = `sending-${++serial}`;
    this.id = film?.id ?? null;
    this.state = "waiting";
    this.sent = film?.received ?? 0;
    this.refused = null;
    this.record = record;
    this.#onChange = onChange;
  }

  /** Whether it takes one of the connections. */
  get active() {
    return ["sending", "retrying", "checking"].includes(this.state);
  }

  /** Whether nothing more will come of it. */
  get over() {
    return ["refused", "done", "cancelled"].includes(this.state);
  }

  /** Bytes a second lately, or null. */
  get rate() {
    const [first, last] = [this.#pace[0], this.#pace.at(-1)];
    if (!first || last.time - first.time < 1000) return null;
    return ((last.sent - first.sent) * 1000) / (last.time - first.time);
  }

  /** Begin, or go on after a pause. */
  start() {
    this.#upload ??= this.#make();
    this.#pace = [];
    this.#is("sending");
    this.#upload.start();
  }

  pause() {
    this.#upload?.abort();
    this.#is("paused");
  }

  /** Do not wait for the next attempt: the network is back. */
  hurry() {
    if (this.state !== "retrying" && this.state !== "stopped") return;
    this.#upload.abort().then(() => this.start());
  }

  /** End it; the caller deletes the film, if there is one. */
  cancel() {
    this.#upload?.abort();
    if (this.#upload) this.#forget();
    this.#is("cancelled");
  }

  /** It cannot be: refused before anything was sent. */
  refuse(refused) {
    this.refused = refused;
    this.#is("refused");
  }

  #is(state) {
    this.state = state;
    this.#onChange(this);
  }

  #make() {
    const { file } = this;
    const there = this.id && new URL(`/files/${this.id}`, location.href).href;
    const upload = new tus.Upload(file, {
      // Without an address for new ones, an upload that exists is never begun anew, whatever a proxy answers.
      endpoint: there ? null : new URL("/files", location.href).href,
      uploadUrl: there,
      chunkSize: PIECE,
      retryDelays: DELAYS,
      removeFingerprintOnSuccess: true,
      fingerprint: () => Promise.resolve(fingerprint(file)),
      metadata: { filename: file.name, filetype: file.type },
      onUploadUrlAvailable: () => {
        upload.options.endpoint = null;
        this.id = idOf(upload.url);
        this.#onChange(this);
      },
      onShouldRetry: (error) => {
        const status = error.originalResponse?.getStatus() ?? 0;
        const again = status < 400 || status >= 500 || status === 409 || status === 423;
        if (again && this.state !== "paused") this.#is("retrying");
        return again;
      },
      onProgress: (sent) => this.#progress(sent),
      onSuccess: () => this.#is("done"),
      onError: (error) => this.#failed(error),
    });
    if (this.record) upload.resumeFromPreviousUpload(this.record);
    return upload;
  }

  #progress(sent) {
    if (this.state === "paused" || this.over) return;
    this.sent = sent;
    this.#pace.push({ sent, time: performance.now() });
    if (this.#pace.length > 40) this.#pace.shift();
    this.#is(sent === this.file.size ? "checking" : "sending");
  }

  #failed(error) {
    const status = error.originalResponse?.getStatus() ?? 0;
    if (status >= 400 && status < 500) {
      this.#forget();
      const body = error.originalResponse.getBody();
      this.refuse(body || !WORDLESS[status] ? Refused.from(body) : new Refused({ code: WORDLESS[status] }));
    } else this.#is("stopped");
  }

  async #forget() {
    for (const { id, urlStorageKey } of await remembered()) {
      if (id === this.id) await tus.defaultOptions.urlStorage.removeUpload(urlStorageKey);
    }
  }
}
