// The upload of one file, by tus: it resumes after a broken connection, a reload of the page, a restart of the server.

import { ApiError } from "./api.js";

/* global tus */

const CHUNK_SIZE = 32 * 2 ** 20; // bytes of one request, so that proxies with a limit let it pass
const RETRY_DELAYS = [300, 1000, 2000, 4000, ...Array(150).fill(5000)]; // milliseconds; twelve minutes in all
const PREFIX = "vsr-";
const CODES_WITHOUT_BODY = { 401: "session", 404: "not_found", 410: "gone" }; // responses to HEAD have none
const RATE_WINDOW = 40; // progress events over which the rate is measured
let nextKey = 0;

/** Identity of a file when it is chosen again. */
const fingerprint = (file) => PREFIX + [file.name, file.type, file.size, file.lastModified].join("-");

const MAX_NAME_BYTES = 200;
const MAX_SUFFIX_LENGTH = 16; // with its dot
const NOT_PRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu; // as Python's isprintable says

/** The name that the server gives a file: the arithmetic is that of web/uploads.py. */
export function nameOnServer(fileName) {
  const path = fileName.normalize("NFC").replaceAll("\\", "/");
  const name = path.split("/").at(-1).replaceAll(NOT_PRINTABLE, "").replace(/^[ .]+|[ .]+$/g, "");
  const dot = name.lastIndexOf(".");
  const [stem, suffix] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
  const shortSuffix = [...suffix].slice(0, MAX_SUFFIX_LENGTH).join("");
  const countBytes = (content) => new TextEncoder().encode(content).length;
  let [shortStem, left] = ["", MAX_NAME_BYTES - countBytes(shortSuffix)];
  for (const character of stem) {
    left -= countBytes(character);
    if (left < 0) break;
    shortStem += character;
  }
  return shortStem + shortSuffix || "video";
}

const idOf = (url) => url.split("/").at(-1);

/** Uploads that this browser has stored: [{id, ...record of tus}]. */
export async function storedUploads() {
  const all = await tus.defaultOptions.urlStorage.findAllUploads();
  return all
    .filter(({ urlStorageKey, uploadUrl }) => urlStorageKey.startsWith(`tus::${PREFIX}`) && uploadUrl)
    .map((record) => ({ ...record, id: idOf(record.uploadUrl) }));
}

/** Remove those records whose video is not on the server any more. */
export async function removeUnknownRecords(records, videos) {
  for (const { id, urlStorageKey } of records) {
    if (!videos.some((video) => video.id === id)) await tus.defaultOptions.urlStorage.removeUpload(urlStorageKey);
  }
}

/** Find the unfinished video that a file belongs to: {video, record}, or null. */
export async function findUnfinished(file, videos) {
  const records = await storedUploads();
  for (const video of videos) {
    const record = records.find(({ id }) => id === video.id);
    const isSame = record
      ? record.urlStorageKey.startsWith(`tus::${fingerprint(file)}::`)
      : video.name === nameOnServer(file.name) && video.size === file.size;
    if (isSame) return { video, record };
  }
  return null;
}

/** An upload. state: waiting, uploading, paused, retrying, stopped, checking, rejected, done or cancelled. */
export class Upload {
  #tusUpload = null;
  #history = []; // recent progress, for the rate
  #onChange;
  #onCreationEnd = null;

  constructor(file, onChange, { video, record } = {}) {
    this.file = file;
    this.key = `upload-${++nextKey}`;
    this.id = video?.id ?? null;
    this.state = "waiting";
    this.sent = video?.received ?? 0;
    this.error = null;
    this.record = record;
    this.wasOnServer = Boolean(video);
    this.isCreating = false; // the request that creates it on the server is under way
    this.#onChange = onChange;
  }

  /** Whether it uses one of the connections. */
  get isActive() {
    return ["uploading", "retrying", "checking"].includes(this.state);
  }

  /** Whether it is being sent, or will be without being asked for. */
  get isOpen() {
    return this.isActive || this.state === "waiting";
  }

  /** Whether it has ended for good. */
  get isFinished() {
    return ["rejected", "done", "cancelled"].includes(this.state);
  }

  /** Recent bytes per second, or null. */
  get rate() {
    const [first, last] = [this.#history[0], this.#history.at(-1)];
    if (!first || last.time - first.time < 1000) return null;
    return ((last.sent - first.sent) * 1000) / (last.time - first.time);
  }

  /** Start, or resume after a pause. */
  start() {
    this.#history = [];
    this.#setState("uploading");
    if (this.isCreating) return;
    this.#tusUpload ??= this.#createTusUpload();
    this.isCreating = !this.id;
    this.#tusUpload.start();
  }

  pause() {
    this.#abort();
    this.#setState("paused");
  }

  /** Retry at once: the network is back. */
  retryNow() {
    if (this.isCreating || (this.state !== "retrying" && this.state !== "stopped")) return;
    Promise.resolve(this.#tusUpload?.abort()).then(() => this.start());
  }

  /** Stop for good; the caller deletes the video, if there is one. */
  cancel() {
    this.#abort();
    if (this.id) this.#removeRecord();
    this.#setState("cancelled");
  }

  /** Resolve to its id on the server, or null, once no request that creates it is under way. */
  async waitForId() {
    if (this.isCreating) await new Promise((resolve) => (this.#onCreationEnd = resolve));
    return this.id;
  }

  /** Reject the file with an error. */
  reject(error) {
    this.error = error;
    this.#setState("rejected");
  }

  /** Stop sending. The server may carry out a request that creates the upload all the same, so that one goes on. */
  #abort() {
    if (!this.isCreating) this.#tusUpload?.abort();
  }

  #endCreation() {
    this.isCreating = false;
    this.#onCreationEnd?.();
  }

  #setState(state) {
    this.state = state;
    this.#onChange(this);
  }

  #createTusUpload() {
    const { file } = this;
    const url = this.id && new URL(`/files/${this.id}`, location.href).href;
    const tusUpload = new tus.Upload(file, {
      // Without an endpoint, an existing upload is never created anew, whatever a proxy answers.
      endpoint: url ? null : new URL("/files", location.href).href,
      uploadUrl: url,
      chunkSize: CHUNK_SIZE,
      retryDelays: RETRY_DELAYS,
      removeFingerprintOnSuccess: true,
      fingerprint: () => Promise.resolve(fingerprint(file)),
      metadata: { filename: file.name, filetype: file.type },
      onUploadUrlAvailable: () => {
        tusUpload.options.endpoint = null;
        this.id = idOf(tusUpload.url);
        this.#endCreation();
        if (!this.isActive) tusUpload.abort(); // paused or cancelled meanwhile
        this.#onChange(this);
      },
      onShouldRetry: (error) => {
        const status = error.originalResponse?.getStatus() ?? 0;
        const canRetry = this.isActive && (status < 400 || status >= 500 || status === 409 || status === 423);
        if (canRetry) this.#setState("retrying");
        return canRetry;
      },
      onProgress: (sent) => this.#handleProgress(sent),
      onSuccess: () => this.#setState("done"),
      onError: (error) => this.#handleError(error),
    });
    if (this.record) tusUpload.resumeFromPreviousUpload(this.record);
    return tusUpload;
  }

  #handleProgress(sent) {
    if (this.state === "paused" || this.isFinished) return;
    this.sent = sent;
    this.#history.push({ sent, time: performance.now() });
    if (this.#history.length > RATE_WINDOW) this.#history.shift();
    this.#setState(sent === this.file.size ? "checking" : "uploading");
  }

  #handleError(error) {
    this.#endCreation();
    if (this.state === "cancelled") return;
    const status = error.originalResponse?.getStatus() ?? 0;
    if (status >= 400 && status < 500) {
      this.#removeRecord();
      const body = error.originalResponse.getBody();
      const code = CODES_WITHOUT_BODY[status];
      this.reject(body || !code ? ApiError.fromBody(body) : new ApiError({ code }));
    } else {
      this.#tusUpload = null; // its attempts are used up; the next one resumes by the id
      if (this.state !== "paused") this.#setState("stopped");
    }
  }

  async #removeRecord() {
    for (const { id, urlStorageKey } of await storedUploads()) {
      if (id === this.id) await tus.defaultOptions.urlStorage.removeUpload(urlStorageKey);
    }
  }
}
