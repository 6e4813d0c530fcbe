// Which videos other windows of this browser are uploading: they are asked again and again, since one may crash.

const ASK_INTERVAL = 3000; // milliseconds
const MAX_AGE = 2.5 * ASK_INTERVAL; // of an answer
const QUESTION = "which";

export class OtherWindows {
  #channel = new BroadcastChannel("vsr-uploads");
  #name = `${Date.now()}-${Math.random()}`; // of this window
  #answers = new Map(); // the last one of each other window, by its name: {ids, time}
  #listOwn;
  #onChange;
  #told = ""; // what this window has told last
  #isLeft = false; // this window is closed, or shows another page

  /** listOwn(): ids of the uploads of this window; onChange() after a change in another one. */
  constructor({ listOwn, onChange }) {
    [this.#listOwn, this.#onChange] = [listOwn, onChange];
    this.#channel.addEventListener("message", ({ data }) => {
      if (data === QUESTION) this.#tell();
      else if (data.window) this.#handleAnswer(data);
    });
    const enter = () => {
      this.#isLeft = false;
      this.#tell();
      this.#ask();
    };
    addEventListener("pageshow", enter); // again when the page was left and is shown from the browser's memory
    addEventListener("pagehide", () => {
      this.#isLeft = true;
      this.#tell();
    });
    document.addEventListener("visibilitychange", () => !document.hidden && this.#ask());
    setInterval(() => this.#ask(), ASK_INTERVAL);
    enter();
  }

  /** Whether another window is uploading the video of an id. */
  isUploading(id) {
    const oldest = performance.now() - MAX_AGE;
    return [...this.#answers.values()].some(({ ids, time }) => time >= oldest && ids.includes(id));
  }

  /** Tell other windows at once if the uploads of this one have changed. */
  update() {
    if (this.#own.join() !== this.#told) this.#tell();
  }

  get #own() {
    return this.#isLeft ? [] : this.#listOwn();
  }

  #tell() {
    const ids = this.#own;
    this.#told = ids.join();
    this.#channel.postMessage({ window: this.#name, ids });
  }

  /** Ask, and show what is known by now: also that there was no answer. */
  #ask() {
    this.#channel.postMessage(QUESTION);
    if (!this.#answers.size) return;
    for (const [window, { time }] of this.#answers) {
      if (time < performance.now() - MAX_AGE) this.#answers.delete(window);
    }
    this.#onChange();
  }

  #handleAnswer({ window, ids }) {
    const before = this.#answers.get(window)?.ids ?? [];
    if (ids.length) this.#answers.set(window, { ids, time: performance.now() });
    else this.#answers.delete(window);
    if (ids.join() !== before.join()) this.#onChange();
  }
}
