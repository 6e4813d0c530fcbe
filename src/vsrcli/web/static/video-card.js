// One video: its upload, its properties, and its conversions.

import { localizeError, localizeMessage, request } from "./api.js";
import { ConversionForm } from "./conversion-form.js";
import { cloneTemplate, confirmAction, setChildren, setMessage, setProgress, setText } from "./dom.js";
import * as format from "./format.js";
import { JobRow } from "./job-row.js";
import { text } from "./texts.js";

export class VideoCard {
  #feed;
  #uploads;
  #options;
  #parts;
  #video = null;
  #upload = null;
  #form = null;
  #rows = new Map();

  constructor({ feed, uploads, options }) {
    [this.#feed, this.#uploads, this.#options] = [feed, uploads, options];
    const { root, parts } = cloneTemplate("video-card");
    [this.root, this.#parts] = [root, parts];
    parts.pause.addEventListener("click", () => {
      this.#upload?.pause();
      parts.resume.focus();
    });
    parts.resume.addEventListener("click", () => {
      this.#upload?.start();
      parts.pause.focus();
    });
    parts.cancel.addEventListener("click", () => this.#cancel());
    parts.delete.addEventListener("click", () => this.#delete());
    parts.sameFile.addEventListener("change", () => this.#resumeFromFile());
  }

  /** Show the present state of a video (or null) and of its upload (or null). */
  update(video, upload) {
    [this.#video, this.#upload] = [video, upload];
    const parts = this.#parts;
    const name = video?.name ?? upload.file.name;
    setText(parts.name, name);
    setText(parts.properties, this.#properties());
    const error = this.#error();
    parts.error.hidden = !error;
    setMessage(parts.reason, error && localizeMessage(error));
    this.#showUpload(name, Boolean(error));
    parts.delete.hidden = !parts.upload.hidden && !video?.jobs.length;
    parts.delete.setAttribute("aria-label", text("video.delete_label", { name }));
    if (video?.state === "ready") this.#showJobs(video);
  }

  #properties() {
    const [video, upload] = [this.#video, this.#upload];
    if (video?.state !== "ready") return format.bytes(video?.size ?? upload.file.size);
    const properties = [format.resolution(video), format.timestamp(video.duration)];
    if (video.fps) properties.push(text("video.fps", { count: format.count(video.fps, 3) }));
    properties.push(text(video.audio ? "video.audio" : "video.silent"), format.bytes(video.size));
    return properties.map(format.nonBreaking).join(" · ");
  }

  /** Why it was rejected: the error of the upload, or the reason that the server has stored, with its limit. */
  #error() {
    const [video, error] = [this.#video, this.#upload?.error];
    if (video?.state !== "rejected" || error?.code === video.code) return error;
    const { code, reason, values } = video;
    const { limits } = this.#options;
    const limit = { too_long: limits.duration, too_many_pixels: limits.pixels, too_large: limits.upload }[code];
    return { code, values: { limit, ...values }, error: reason };
  }

  #showUpload(name, isRejected) {
    const [video, upload, parts] = [this.#video, this.#upload, this.#parts];
    // All bytes are handed to the network, but only the server knows whether they have arrived.
    const isInTransit = upload?.state === "checking" && video?.state === "uploading";
    const isElsewhere = video?.state === "uploading" && !upload?.isOpen && this.#uploads.isElsewhere(video);
    const storedState = video?.state === "checking" ? "checking" : "interrupted";
    const state = isElsewhere ? "elsewhere" : isInTransit ? "uploading" : (upload?.state ?? storedState);
    const isChecking = state === "checking" || state === "done";
    const isShown = !isRejected && (upload || video?.state === "uploading" || video?.state === "checking");
    parts.upload.hidden = !isShown;
    if (!isShown) return;
    const total = upload?.file.size ?? video.size;
    const sent = upload?.sent ?? video.received;
    const status = this.#status(state, sent, total);
    setProgress(parts.progress, isChecking ? null : sent / total, text("upload.label", { name }), status);
    setText(parts.status, status);
    parts.pause.hidden = !upload || !["uploading", "retrying"].includes(state);
    parts.resume.hidden = !upload || !["paused", "stopped"].includes(state);
    parts.chooseAgain.hidden = Boolean(upload) || isChecking || isElsewhere;
    parts.cancel.hidden = isChecking || isElsewhere;
    if (upload) parts.mismatch.hidden = true;
  }

  #status(state, sent, total) {
    const amounts = { sent: format.bytes(sent), total: format.bytes(total) };
    if (state === "done") return text("upload.checking");
    if (state !== "uploading") return text(`upload.${state}`, amounts);
    if (!sent) return text("upload.starting");
    const status = [text("upload.uploading", amounts)];
    const { rate } = this.#upload;
    if (rate > 0) {
      status.push(text("upload.rate", { rate: format.bytes(rate) }), format.remainingTime((total - sent) / rate));
    }
    return status.join(" · ");
  }

  #showJobs(video) {
    const { form, jobs } = this.#parts;
    if (!this.#form) {
      this.#form = new ConversionForm(video, this.#options, (job) => this.#feed.set("job", job));
      form.replaceChildren(this.#form.root);
    }
    this.#form.update(video.jobs.length > 0);
    const rows = new Map();
    for (const job of video.jobs) {
      const row = this.#rows.get(job.id) ?? new JobRow(this.#feed);
      row.update(video, job);
      rows.set(job.id, row);
    }
    this.#rows = rows;
    setChildren(jobs, [...rows.values()].reverse().map(({ root }) => root), this.#form);
  }

  async #resumeFromFile() {
    const [file] = this.#parts.sameFile.files;
    if (!file) return;
    const { name, size } = this.#video;
    const isSame = await this.#uploads.resume(this.#video, file);
    this.#parts.sameFile.value = "";
    setText(this.#parts.mismatch, isSame ? "" : text("upload.mismatch", { name, size: format.bytes(size) }));
  }

  #cancel() {
    if (this.#upload) this.#uploads.cancel(this.#upload);
    else this.#deleteOnServer();
  }

  async #delete() {
    const [video, upload] = [this.#video, this.#upload];
    if (video?.state === "ready") {
      const isConfirmed = await confirmAction({
        title: text("video.delete_title"),
        question: text("video.delete_text", { name: video.name }),
        yes: text("delete"),
        no: text("keep"),
      });
      if (!isConfirmed) return;
    }
    if (upload) this.#uploads.remove(upload);
    if (video) await this.#deleteOnServer();
  }

  async #deleteOnServer() {
    const { id } = this.#video;
    try {
      await request("DELETE", `/api/videos/${id}`);
    } catch (error) {
      if (error.code !== "not_found") {
        this.#parts.error.hidden = false;
        setMessage(this.#parts.reason, localizeError(error));
        return;
      }
    }
    this.#feed.remove("video", id);
  }
}
