// All files on their way: two at a time, refused at once where the limits are known.

import { begun, forgetOthers, remembered, Sending } from "./sending.js";
import { Refused, request } from "./server.js";

const AT_ONCE = 2;

export class Uploads {
  #sendings = [];
  #feed;
  #limits;
  #onChange;
  #onDone;

  /** feed: films on the server; onChange() after every change; onDone(sending) when one has arrived, a promise. */
  constructor({ feed, limits, onChange, onDone }) {
    this.#feed = feed;
    this.#limits = limits;
    [this.#onChange, this.#onDone] = [onChange, onDone];
    addEventListener("online", () => this.#sendings.forEach((sending) => sending.hurry()));
    addEventListener("beforeunload", (event) => {
      if (this.#sendings.some((sending) => sending.active)) event.preventDefault();
    });
  }

  /** Newest first. */
  get all() {
    return [...this.#sendings].reverse();
  }

  /** The one that a film is coming from. */
  of(film) {
    return this.#sendings.find(({ id }) => id === film.id);
  }

  /** Forget what the browser remembers and the server does not. */
  async tidy() {
    const known = await remembered();
    await this.#feed.refresh();
    await forgetOthers(known, this.#feed.films);
  }

  /** Send files; those that were begun before go on. */
  async add(files) {
    for (const file of files) {
      const open = this.#feed.films.filter((film) => film.state === "uploading" && !this.of(film));
      this.#take(file, await begun(file, open));
    }
  }

  /** Go on with this film from this file; false if it is not the file that it was begun with. */
  async goOn(film, file) {
    const found = await begun(file, [film]);
    if (found) this.#take(file, found);
    return found !== null;
  }

  /** Stop it, and delete what has arrived. */
  async cancel(sending) {
    const { id } = sending;
    sending.cancel();
    if (id) {
      await request("DELETE", `/api/films/${id}`).catch(() => {});
      this.#feed.forget("film", id);
    }
  }

  /** Take one away that was refused. */
  dismiss(sending) {
    this.#sendings = this.#sendings.filter((each) => each !== sending);
    this.#onChange();
  }

  /** A film is gone: so is its upload. */
  drop(films) {
    for (const sending of this.#sendings) {
      if (sending.id && !sending.over && sending.known && !films.some(({ id }) => id === sending.id)) {
        sending.cancel();
      }
      sending.known ||= films.some(({ id }) => id === sending.id);
    }
  }

  #take(file, found) {
    const sending = new Sending(file, (each) => this.#changed(each), found ?? {});
    this.#sendings.push(sending);
    if (file.size === 0) sending.refuse(new Refused({ code: "empty" }));
    else if (file.size > this.#limits.upload) {
      sending.refuse(new Refused({ code: "too_large", values: { limit: this.#limits.upload } }));
    } else this.#next();
  }

  #changed(sending) {
    if (sending.state === "done") this.#onDone(sending).finally(() => this.dismiss(sending));
    if (sending.state === "cancelled") this.dismiss(sending);
    if (!sending.active) this.#next();
    this.#onChange();
  }

  #next() {
    const active = this.#sendings.filter((each) => each.active).length;
    const waiting = this.#sendings.filter((each) => each.state === "waiting");
    for (const sending of waiting.slice(0, Math.max(AT_ONCE - active, 0))) sending.start();
    this.#onChange();
  }
}
