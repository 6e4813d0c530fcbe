// One conversion: how far it is, what became of it.

import { Comparison } from "./comparison.js";
import { ask, piece, progress, say, sentence, words } from "./dom.js";
import * as format from "./format.js";
import { explained, request, told } from "./server.js";
import { resultSize } from "./sizes.js";
import { text } from "./texts.js";

export class JobRow {
  #feed;
  #parts;
  #film;
  #job = null;
  #quarter = 0;
  #comparison = null;

  constructor(feed) {
    this.#feed = feed;
    const { root, parts } = piece("job-row");
    [this.root, this.#parts] = [root, parts];
    parts.cancel.addEventListener("click", () => this.#act(() => this.#cancel()));
    parts.again.addEventListener("click", () => this.#act(() => this.#again()));
    parts.delete.addEventListener("click", () => this.#act(() => this.#delete()));
  }

  get #size() {
    const size = this.#job.result ?? resultSize(this.#film, this.#job.options);
    return size ? format.pixels(size) : (this.#job.options.size ?? "");
  }

  /** Show a job of a film as it is now. */
  update(film, job) {
    const before = this.#job;
    [this.#film, this.#job] = [film, job];
    const { name } = film;
    const parts = this.#parts;
    const { state } = job;
    this.root.dataset.state = state;
    words(parts.title, text("job.title", { size: this.#size }));
    words(parts.state, text(`job.${state}`));
    const waits = state === "queued" || state === "running";
    parts.progress.hidden = !waits;
    words(parts.told, waits ? this.#progress() : state === "cancelled" ? text("job.cancelled_plain") : "");
    parts.failure.hidden = state !== "failed";
    if (state === "failed") this.#showReason();
    parts.cancel.hidden = !waits;
    parts.again.hidden = state !== "failed" && state !== "cancelled";
    parts.delete.hidden = waits;
    parts.delete.setAttribute("aria-label", `${text("job.delete_row")} (${this.#size})`);
    parts.download.hidden = state !== "done";
    if (state === "done") this.#showResult();
    if (before && before.state !== state && state !== "queued") say(text(`job.${state}_said`, { name }));
  }

  /** Why it failed; what the command itself says is English. */
  #showReason() {
    const { code, values, message } = this.#job;
    sentence(this.#parts.reason, explained({ code, values, error: message }));
  }

  #showResult() {
    const { download, result } = this.#parts;
    download.href = `/api/jobs/${this.#job.id}/download`;
    download.setAttribute("aria-label", text("result.download_label", { name: this.#job.result.name }));
    if (!this.#comparison) {
      this.#comparison = new Comparison(this.#job);
      result.replaceChildren(this.#comparison.root);
      result.hidden = false;
    }
    this.#comparison.update();
  }

  #progress() {
    const { state, code, position, done, total, fps, eta } = this.#job;
    const label = text("job.label", { name: this.#film.name, size: this.#size });
    let [share, said] = [null, text("job.preparing")];
    if (state === "queued") {
      share = 0;
      said = position === 1 || position == null ? text("job.next") : text("job.position", { position: format.count(position) });
      if (code === "interrupted") said = [said, text("job.interrupted")].join(" · ");
    } else if (done && total) {
      share = done / total;
      const parts = [format.percent(share), text("job.frames", { done: format.count(done), total: format.count(total) })];
      if (fps) parts.push(text("job.fps", { fps: format.count(fps, fps < 10 ? 1 : 0) }));
      if (eta != null && done < total) parts.push(format.left(eta));
      said = done >= total ? text("job.finishing") : parts.join(" · ");
      this.#sayQuarter(share);
    }
    progress(this.#parts.progress, share, label, said);
    return said;
  }

  #sayQuarter(share) {
    const quarter = Math.floor(share * 4);
    if (quarter > this.#quarter && quarter < 4) {
      say(text("job.progress_said", { name: this.#film.name, percent: format.percent(quarter / 4) }));
    }
    this.#quarter = quarter;
  }

  async #act(what) {
    sentence(this.#parts.problem, null);
    try {
      await what();
    } catch (error) {
      sentence(this.#parts.problem, told(error));
    }
  }

  async #cancel() {
    this.#feed.tell("job", await request("POST", `/api/jobs/${this.#job.id}/cancel`));
  }

  async #again() {
    const asked = Object.entries(this.#job.options).filter(([, value]) => value != null);
    this.#feed.tell("job", await request("POST", `/api/films/${this.#film.id}/jobs`, Object.fromEntries(asked)));
  }

  async #delete() {
    if (this.#job.state === "done") {
      const sure = await ask({
        title: text("job.delete_title"),
        question: text("job.delete_text", { name: this.#film.name, size: this.#size }),
        yes: text("delete"),
        no: text("keep"),
      });
      if (!sure) return;
    }
    await request("DELETE", `/api/jobs/${this.#job.id}`);
    this.#feed.forget("job", this.#job.id);
  }
}
