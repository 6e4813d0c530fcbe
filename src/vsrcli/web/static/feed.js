// The videos of this session: received by server-sent events, polled where these do not come.

import { ApiError, request } from "./api.js";

const POLL_INTERVAL = 3000; // milliseconds between two requests while events do not come
const SILENCE_LIMIT = 10000; // without an event while one is due: a proxy may be buffering them
const MAX_REQUESTS = 3; // in a row, while events come faster than answers; #watch goes on then
const RETRY_DELAY = 15000; // until a closed stream of events is opened again

/** Videos by id, kept up to date. */
export class Feed {
  #videos = new Map();
  #onChange;
  #onProblem;
  #source = null;
  #lastEvent = 0;
  #request = null; // of all videos, while it runs
  #wasOpened = false;
  #isOutdated = true; // the last request of all videos has failed or was overtaken, or none was made yet
  #revision = 0; // counts changes by events and by responses

  /** onChange(videos, isCertain) after every change, not certain while events may be missing in it; onProblem(why the server cannot be asked, null when it answers). */
  constructor({ onChange, onProblem }) {
    [this.#onChange, this.#onProblem] = [onChange, onProblem];
  }

  get videos() {
    return [...this.#videos.values()];
  }

  video(id) {
    return this.#videos.get(id);
  }

  /**
   * Load all videos, and follow changes for as long as the page is open. While it is not visible it polls: browsers
   * open six connections to a server at once, and each stream of events keeps one.
   */
  async start() {
    await this.refresh();
    this.#openStream();
    document.addEventListener("visibilitychange", () => this.#followVisibility());
    setInterval(() => this.#watch(), POLL_INTERVAL);
  }

  /** Load all videos. Throw on permanent errors (the session is over), not on temporary ones. */
  refresh() {
    this.#request ??= this.#load().finally(() => (this.#request = null));
    return this.#request;
  }

  /** Add or replace a video or a job. */
  set(kind, data) {
    this.#revision += 1;
    if (kind === "video") this.#videos.set(data.id, data);
    const video = kind === "job" ? this.#videos.get(data.video) : null;
    if (video) {
      const others = video.jobs.filter((job) => job.id !== data.id);
      const jobs = [...others, data].sort((a, b) => a.created - b.created);
      this.#videos.set(video.id, { ...video, jobs });
    }
    this.#onChange(this.videos, !this.#isOutdated);
  }

  /** Remove a video or a job. */
  remove(kind, id) {
    this.#revision += 1;
    if (kind === "video") this.#videos.delete(id);
    else {
      for (const video of this.videos) {
        this.#videos.set(video.id, { ...video, jobs: video.jobs.filter((job) => job.id !== id) });
      }
    }
    this.#onChange(this.videos, !this.#isOutdated);
  }

  async #load() {
    try {
      let videos;
      for (let requests = 0, isOlder = true; isOlder && requests < MAX_REQUESTS; requests++) {
        const revision = this.#revision;
        ({ videos } = await request("GET", "/api/videos"));
        isOlder = revision !== this.#revision; // perhaps older than an event that came meanwhile
        this.#isOutdated = isOlder;
      }
      this.#videos = new Map(videos.map((video) => [video.id, video]));
      this.#onProblem(null);
      this.#onChange(this.videos, !this.#isOutdated);
    } catch (error) {
      const isTemporary = error instanceof ApiError && error.isTemporary;
      this.#isOutdated = isTemporary;
      this.#onProblem(error);
      if (!isTemporary) throw error;
    }
  }

  #followVisibility() {
    if (document.hidden) {
      this.#source?.close();
      this.#source = null;
    } else {
      this.#openStream();
      this.refresh().catch(() => {});
    }
  }

  #openStream() {
    if (document.hidden || this.#source) return;
    const source = new EventSource("/api/events");
    this.#source = source;
    source.addEventListener("open", () => {
      this.#lastEvent = Date.now();
      // No event reports what was deleted while the stream was closed.
      if (this.#wasOpened) this.refresh().catch(() => {});
      this.#wasOpened = true;
      this.#onProblem(null);
    });
    for (const kind of ["video", "job", "gone"]) {
      source.addEventListener(kind, (event) => {
        this.#lastEvent = Date.now();
        const data = JSON.parse(event.data);
        if (kind === "gone") this.remove(data.kind, data.id);
        else this.set(kind, data);
      });
    }
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return; // it reconnects by itself
      this.#source = null;
      setTimeout(() => this.#openStream(), RETRY_DELAY);
    });
  }

  #watch() {
    const isOpen = this.#source?.readyState === EventSource.OPEN;
    const isBusy = this.videos.some(
      (video) =>
        video.state === "checking" || video.jobs.some((job) => job.state === "queued" || job.state === "running"),
    );
    const isSilent = isBusy && Date.now() - this.#lastEvent > SILENCE_LIMIT;
    if (!isOpen || this.#isOutdated || isSilent) this.refresh().catch(() => {});
  }
}
