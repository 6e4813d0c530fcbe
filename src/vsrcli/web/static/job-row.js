// One conversion: its progress, and its result or error.

import { localizeError, localizeMessage, request } from "./api.js";
import { Comparison } from "./comparison.js";
import { announce, cloneTemplate, confirmAction, setMessage, setProgress, setText } from "./dom.js";
import * as format from "./format.js";
import { resultSize } from "./sizes.js";
import { text } from "./texts.js";

export class JobRow {
  #feed;
  #parts;
  #video;
  #job = null;
  #quarter = 0; // of the progress that was announced
  #comparison = null;

  constructor(feed) {
    this.#feed = feed;
    const { root, parts } = cloneTemplate("job-row");
    [this.root, this.#parts] = [root, parts];
    parts.cancel.addEventListener("click", () => this.#run(() => this.#cancel()));
    parts.repeat.addEventListener("click", () => this.#run(() => this.#repeat()));
    parts.delete.addEventListener("click", () => this.#run(() => this.#delete()));
  }

  get #resolution() {
    const size = this.#job.result ?? resultSize(this.#video, this.#job.options);
    return size ? format.resolution(size) : (this.#job.options.size ?? "");
  }

  /** Show the present state of a job. */
  update(video, job) {
    const previous = this.#job;
    const focused = document.activeElement;
    [this.#video, this.#job] = [video, job];
    const { name } = video;
    const parts = this.#parts;
    const { state } = job;
    this.root.dataset.state = state;
    setText(parts.title, text("job.title", { size: this.#resolution }));
    setText(parts.state, text(`job.${state}`));
    const isPending = state === "queued" || state === "running";
    parts.progress.hidden = !isPending;
    setText(parts.status, isPending ? this.#showProgress() : state === "cancelled" ? text("job.cancelled_by_you") : "");
    parts.failure.hidden = state !== "failed";
    if (state === "failed") this.#showReason();
    parts.cancel.hidden = !isPending;
    parts.repeat.hidden = state !== "failed" && state !== "cancelled";
    parts.delete.hidden = isPending;
    parts.delete.setAttribute("aria-label", `${text("job.delete_row")} (${this.#resolution})`);
    parts.download.hidden = state !== "done";
    if (state === "done") this.#showResult();
    this.#keepFocus(focused);
    if (previous && previous.state !== state && state !== "queued") announce(text(`job.${state}_announced`, { name }));
  }

  /** Move the focus to the first button that is shown if the one that had it is hidden now. */
  #keepFocus(focused) {
    const { download, repeat, cancel, delete: deletion } = this.#parts;
    const buttons = [download, repeat, cancel, deletion];
    if (buttons.includes(focused) && focused.hidden) buttons.find((button) => !button.hidden).focus();
  }

  /** Show why it failed; messages of the command itself are in English. */
  #showReason() {
    const { code, values, message } = this.#job;
    setMessage(this.#parts.reason, localizeMessage({ code, values, error: message }));
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
    this.#comparison.update(this.#job);
  }

  /** Update the progress bar; return the status text. */
  #showProgress() {
    const { state, code, position, done, total, fps, eta } = this.#job;
    const label = text("job.label", { name: this.#video.name, size: this.#resolution });
    let [fraction, status] = [null, text("job.preparing")];
    if (state === "queued") {
      fraction = 0;
      status =
        position === 1 || position == null
          ? text("job.next")
          : text("job.position", { position: format.count(position) });
      if (code === "interrupted") status = [status, text("job.interrupted")].join(" · ");
    } else if (done && total) {
      fraction = done / total;
      const frames = text("job.frames", { done: format.count(done), total: format.count(total) });
      const details = [format.percent(fraction), frames];
      if (fps) details.push(text("job.fps", { fps: format.rate(fps) }));
      if (eta != null && done < total) details.push(format.remainingTime(eta));
      status = done >= total ? text("job.finishing") : details.join(" · ");
      this.#announceQuarter(fraction);
    }
    setProgress(this.#parts.progress, fraction, label, status);
    return status;
  }

  #announceQuarter(fraction) {
    const quarter = Math.floor(fraction * 4);
    if (quarter > this.#quarter && quarter < 4) {
      const percent = format.percent(quarter / 4);
      announce(text("job.progress_announced", { name: this.#video.name, percent }));
    }
    this.#quarter = quarter;
  }

  async #run(action) {
    setMessage(this.#parts.error, null);
    try {
      await action();
    } catch (error) {
      setMessage(this.#parts.error, localizeError(error));
    }
  }

  async #cancel() {
    this.#feed.set("job", await request("POST", `/api/jobs/${this.#job.id}/cancel`));
  }

  /** Go on with what a failed conversion has finished, or request the same one again. */
  async #repeat() {
    if (this.#job.resumable) {
      this.#feed.set("job", await request("POST", `/api/jobs/${this.#job.id}/resume`));
      return;
    }
    const options = Object.entries(this.#job.options).filter(([, value]) => value != null);
    this.#feed.set("job", await request("POST", `/api/videos/${this.#video.id}/jobs`, Object.fromEntries(options)));
  }

  async #delete() {
    if (this.#job.state === "done") {
      const isConfirmed = await confirmAction({
        title: text("job.delete_title"),
        question: text("job.delete_text", { name: this.#video.name, size: this.#resolution }),
        yes: text("delete"),
        no: text("keep"),
      });
      if (!isConfirmed) return;
    }
    await request("DELETE", `/api/jobs/${this.#job.id}`);
    this.#feed.remove("job", this.#job.id);
  }
}
