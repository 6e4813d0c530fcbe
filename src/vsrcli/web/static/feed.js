// What the server knows of this visitor's films: told by server-sent events, asked for where they do not come.

import { Refused, request } from "./server.js";

const POLL = 3000; // milliseconds between two questions while events do not come
const SILENCE = 10000; // without an event while something should happen: a proxy may be holding them back
const RETRY = 15000; // until a closed stream of events is tried again

/** Films by id, and the wish to be told when they change. */
export class Feed {
  #films = new Map();
  #onChange;
  #onReach;
  #source = null;
  #heard = 0;
  #asking = null;
  #opened = false;
  #missed = true; // the last question for everything had no answer (yet)
  #changes = 0; // told by events, or by answers to what was asked for

  /** onChange(films) after every change; onReach(whether the server answers). */
  constructor({ onChange, onReach }) {
    [this.#onChange, this.#onReach] = [onChange, onReach];
  }

  get films() {
    return [...this.#films.values()];
  }

  film(id) {
    return this.#films.get(id);
  }

  /** Begin to listen, for as long as the page is open. */
  async start() {
    await this.refresh();
    this.#listen();
    setInterval(() => this.#watch(), POLL);
  }

  /** Ask for everything. A refusal (the session is over) is thrown; a silent or failing server is not. */
  refresh() {
    this.#asking ??= this.#ask().finally(() => (this.#asking = null));
    return this.#asking;
  }

  /** Take over what an answer has told about a film or a job. */
  tell(kind, data) {
    this.#changes += 1;
    if (kind === "film") this.#films.set(data.id, data);
    const film = kind === "job" ? this.#films.get(data.film) : null;
    if (film) {
      const others = film.jobs.filter((job) => job.id !== data.id);
      const jobs = [...others, data].sort((a, b) => a.created - b.created);
      this.#films.set(film.id, { ...film, jobs });
    }
    this.#onChange(this.films);
  }

  /** A film or job is no more. */
  forget(kind, id) {
    this.#changes += 1;
    if (kind === "film") this.#films.delete(id);
    else {
      for (const film of this.films) {
        this.#films.set(film.id, { ...film, jobs: film.jobs.filter((job) => job.id !== id) });
      }
    }
    this.#onChange(this.films);
  }

  async #ask() {
    try {
      let films, before;
      do {
        before = this.#changes;
        ({ films } = await request("GET", "/api/films"));
      } while (before !== this.#changes); // the answer may be older than what was told meanwhile
      this.#missed = false;
      this.#films = new Map(films.map((film) => [film.id, film]));
      this.#onReach(true);
      this.#onChange(this.films);
    } catch (error) {
      const passing = error instanceof Refused && error.passing;
      this.#missed = passing;
      this.#onReach(!passing);
      if (!passing) throw error;
    }
  }

  #listen() {
    const source = new EventSource("/api/events");
    this.#source = source;
    source.addEventListener("open", () => {
      this.#heard = Date.now();
      // What was deleted while nobody listened is told by no event.
      if (this.#opened) this.refresh().catch(() => {});
      this.#opened = true;
      this.#onReach(true);
    });
    for (const kind of ["film", "job", "gone"]) {
      source.addEventListener(kind, (event) => {
        this.#heard = Date.now();
        const data = JSON.parse(event.data);
        if (kind === "gone") this.forget(data.kind, data.id);
        else this.tell(kind, data);
      });
    }
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return; // it reconnects by itself
      this.#source = null;
      setTimeout(() => this.#listen(), RETRY);
    });
  }

  #watch() {
    const open = this.#source?.readyState === EventSource.OPEN;
    const busy = this.films.some(
      (film) =>
        film.state === "checking" || film.jobs.some((job) => job.state === "queued" || job.state === "running"),
    );
    if (!open || this.#missed || (busy && Date.now() - this.#heard > SILENCE)) this.refresh().catch(() => {});
  }
}
