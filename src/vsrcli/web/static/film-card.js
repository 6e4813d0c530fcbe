// One film: on its way to the server, or there, with the conversions that were asked for.

import { Choices } from "./choices.js";
import { ask, order, piece, progress, sentence, words } from "./dom.js";
import * as format from "./format.js";
import { JobRow } from "./job-row.js";
import { explained, request, told } from "./server.js";
import { text } from "./texts.js";

export class FilmCard {
  #feed;
  #uploads;
  #options;
  #parts;
  #film = null;
  #sending = null;
  #choices = null;
  #rows = new Map();

  constructor({ feed, uploads, options }) {
    [this.#feed, this.#uploads, this.#options] = [feed, uploads, options];
    const { root, parts } = piece("film-card");
    [this.root, this.#parts] = [root, parts];
    parts.pause.addEventListener("click", () => {
      this.#sending?.pause();
      parts.resume.focus();
    });
    parts.resume.addEventListener("click", () => {
      this.#sending?.start();
      parts.pause.focus();
    });
    parts.cancel.addEventListener("click", () => this.#cancel());
    parts.delete.addEventListener("click", () => this.#delete());
    parts.sameFile.addEventListener("change", () => this.#goOn());
  }

  /** Show a film (or null), and the upload that it comes from (or null), as they are now. */
  update(film, sending) {
    [this.#film, this.#sending] = [film, sending];
    const parts = this.#parts;
    const name = film?.name ?? sending.file.name;
    words(parts.name, name);
    words(parts.facts, this.#facts());
    const refusal = this.#refusal();
    parts.refusal.hidden = !refusal;
    sentence(parts.reason, refusal && explained(refusal));
    this.#showSending(name, Boolean(refusal));
    parts.delete.hidden = !parts.sending.hidden && !film?.jobs.length;
    parts.delete.setAttribute("aria-label", text("film.delete_label", { name }));
    if (film?.state === "ready") this.#showJobs(film);
  }

  #facts() {
    const [film, sending] = [this.#film, this.#sending];
    if (film?.state !== "ready") return format.bytes(film?.size ?? sending.file.size);
    const facts = [format.pixels(film), format.clock(film.duration)];
    if (film.fps) facts.push(text("film.fps", { count: format.count(film.fps, 3) }));
    facts.push(text(film.sound ? "film.sound" : "film.silent"), format.bytes(film.size));
    return facts.map(format.unbroken).join(" · ");
  }

  /** Why it cannot be: what the upload was told, or the reason that the server keeps, with its limit. */
  #refusal() {
    const [film, refused] = [this.#film, this.#sending?.refused];
    if (film?.state !== "refused" || refused?.code === film.code) return refused;
    const { code, reason, values } = film;
    const { limits } = this.#options;
    const limit = { too_long: limits.duration, too_many_pixels: limits.pixels, too_large: limits.upload }[code];
    return { code, values: { limit, ...values }, error: reason };
  }

  #showSending(name, refused) {
    const [film, sending, parts] = [this.#film, this.#sending, this.#parts];
    // All bytes are handed over to the network, but have they arrived? The server says.
    const handed = sending?.state === "checking" && film?.state === "uploading";
    const state = handed ? "sending" : (sending?.state ?? (film.state === "checking" ? "checking" : "interrupted"));
    const checking = state === "checking" || state === "done";
    const shown = !refused && (sending || film?.state === "uploading" || film?.state === "checking");
    parts.sending.hidden = !shown;
    if (!shown) return;
    const total = sending?.file.size ?? film.size;
    const sent = sending?.sent ?? film.received;
    const said = this.#told(state, sent, total);
    progress(parts.progress, checking ? null : sent / total, text("upload.label", { name }), said);
    words(parts.told, said);
    parts.pause.hidden = !sending || !["sending", "retrying"].includes(state);
    parts.resume.hidden = !sending || !["paused", "stopped"].includes(state);
    parts.again.hidden = Boolean(sending) || checking;
    parts.cancel.hidden = checking;
    if (sending) parts.mismatch.hidden = true;
  }

  #told(state, sent, total) {
    const amounts = { sent: format.bytes(sent), total: format.bytes(total) };
    if (state === "done") return text("upload.checking");
    if (state !== "sending") return text(`upload.${state}`, amounts);
    if (!sent) return text("upload.starting");
    const told = [text("upload.sending", amounts)];
    const { rate } = this.#sending;
    if (rate > 0) told.push(text("upload.rate", { rate: format.bytes(rate) }), format.left((total - sent) / rate));
    return told.join(" · ");
  }

  #showJobs(film) {
    const { choices, jobs } = this.#parts;
    if (!this.#choices) {
      this.#choices = new Choices(film, this.#options, (job) => this.#feed.tell("job", job));
      choices.replaceChildren(this.#choices.root);
    }
    this.#choices.update(film.jobs.length > 0);
    const rows = new Map();
    for (const job of film.jobs) {
      const row = this.#rows.get(job.id) ?? new JobRow(this.#feed);
      row.update(film, job);
      rows.set(job.id, row);
    }
    this.#rows = rows;
    order(jobs, [...rows.values()].reverse().map(({ root }) => root));
  }

  async #goOn() {
    const [file] = this.#parts.sameFile.files;
    if (!file) return;
    const { name, size } = this.#film;
    const same = await this.#uploads.goOn(this.#film, file);
    this.#parts.sameFile.value = "";
    words(this.#parts.mismatch, same ? "" : text("upload.mismatch", { name, size: format.bytes(size) }));
  }

  #cancel() {
    if (this.#sending) this.#uploads.cancel(this.#sending);
    else this.#remove();
  }

  async #delete() {
    const [film, sending] = [this.#film, this.#sending];
    if (film?.state === "ready") {
      const sure = await ask({
        title: text("film.delete_title"),
        question: text("film.delete_text", { name: film.name }),
        yes: text("delete"),
        no: text("keep"),
      });
      if (!sure) return;
    }
    if (sending) this.#uploads.dismiss(sending);
    if (film) await this.#remove();
  }

  async #remove() {
    const { id } = this.#film;
    try {
      await request("DELETE", `/api/films/${id}`);
    } catch (error) {
      if (error.code !== "not_found") {
        this.#parts.refusal.hidden = false;
        sentence(this.#parts.reason, told(error));
        return;
      }
    }
    this.#feed.forget("film", id);
  }
}
