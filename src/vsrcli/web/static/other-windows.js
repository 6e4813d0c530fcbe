// Which videos other windows of this browser are uploading: they are asked again and again, since one may crash.

const ASK_INTERVAL = 3000; // milliseconds
const QUESTION = "which";

export class OtherWindows {
  #channel = new BroadcastChannel("vsr-uploads");
  #ids = new Set(); // of the answers to the last question and to this one
  #answers = new Set(); // to this question

  /** listOwn(): ids of the uploads of this window; onChange() after a change in another one. */
  constructor({ listOwn, onChange }) {
    this.#channel.addEventListener("message", ({ data }) => {
      if (data === QUESTION) {
        this.#channel.postMessage(listOwn());
        return;
      }
      const isNew = data.some((id) => !this.#ids.has(id));
      for (const id of data) {
        this.#ids.add(id);
        this.#answers.add(id);
      }
      if (isNew) onChange();
    });
    const ask = () => {
      const isLess = this.#answers.size < this.#ids.size;
      [this.#ids, this.#answers] = [this.#answers, new Set()];
      if (isLess) onChange();
      this.#channel.postMessage(QUESTION);
    };
    setInterval(ask, ASK_INTERVAL);
    ask();
  }

  /** Whether another window is uploading the video of an id. */
  isUploading(id) {
    return this.#ids.has(id);
  }
}
