// All uploads: two at a time, rejected at once where the limits are known.

import { ApiError, request } from "./api.js";
import { OtherWindows } from "./other-windows.js";
import { findUnfinished, nameOnServer, removeUnknownRecords, storedUploads, Upload } from "./upload.js";

const MAX_ACTIVE = 2;

export class UploadQueue {
  #uploads = [];
  #feed;
  #limits;
  #onChange;
  #onDone;
  #otherWindows;

  /** feed: videos on the server; onChange() after every change; onDone(upload) after one has finished, a promise. */
  constructor({ feed, limits, onChange, onDone }) {
    this.#feed = feed;
    this.#limits = limits;
    [this.#onChange, this.#onDone] = [onChange, onDone];
    this.#otherWindows = new OtherWindows({
      listOwn: () => this.#uploads.filter(({ id, isOpen }) => id && isOpen).map(({ id }) => id),
      onChange,
    });
    addEventListener("online", () => this.retryNow());
    addEventListener("beforeunload", (event) => {
      if (this.#uploads.some((upload) => upload.isActive)) event.preventDefault();
    });
  }

  /** All uploads, newest first. */
  get all() {
    return this.#uploads.filter(({ state }) => state !== "cancelled").reverse();
  }

  /** The upload of a video. */
  forVideo(video) {
    return this.#uploads.find(({ id }) => id === video.id);
  }

  /** Whether another window is uploading a video. */
  isElsewhere(video) {
    return this.#otherWindows.isUploading(video.id);
  }

  /** Whether a video is none of its own: its creation is not answered yet, or its upload is cancelled. */
  isHidden(video) {
    const upload = this.forVideo(video);
    if (upload) return upload.state === "cancelled";
    const matches = ({ isCreating, file }) =>
      isCreating && file.size === video.size && nameOnServer(file.name) === video.name;
    return video.state === "uploading" && this.#uploads.some(matches);
  }

  /** Remove the browser's records of videos that are not on the server any more. */
  async forgetUnknown() {
    const records = await storedUploads();
    await this.#feed.refresh();
    await removeUnknownRecords(records, this.#feed.videos);
  }

  /** Upload files; unfinished ones are resumed. Resolve to those that another window is uploading: none of ours. */
  async add(files) {
    const elsewhere = [];
    for (const file of files) {
      const unfinished = this.#feed.videos.filter((video) => video.state === "uploading" && !this.forVideo(video));
      const match = await findUnfinished(file, unfinished);
      if (match && this.isElsewhere(match.video)) elsewhere.push(file);
      else this.#add(file, match);
    }
    return elsewhere;
  }

  /** Resume a video from a file; resolve to false if it is another file. */
  async resume(video, file) {
    const match = await findUnfinished(file, [video]);
    if (match && !this.isElsewhere(video)) this.#add(file, match);
    return match !== null;
  }

  /** Continue uploads whose connection is lost: the server can be reached again. */
  retryNow() {
    for (const upload of this.#uploads) if (!this.isElsewhere(upload)) upload.retryNow();
  }

  /** Stop an upload, and delete what has been received. */
  async cancel(upload) {
    upload.cancel();
    const id = await upload.waitForId();
    if (id) {
      await request("DELETE", `/api/videos/${id}`).catch(() => {});
      this.#feed.remove("video", id);
    }
    this.remove(upload);
  }

  /** Remove an upload from the list. */
  remove(upload) {
    this.#uploads = this.#uploads.filter((each) => each !== upload);
    this.#show();
  }

  /** Cancel the uploads of videos that were on the server and are not any more; forget those that are complete. */
  cancelDeleted(videos) {
    for (const upload of this.#uploads) {
      const video = videos.find(({ id }) => id === upload.id);
      const isOnServer = Boolean(video);
      // Another window has sent the rest of what is paused here.
      if (video && video.state !== "uploading" && !upload.isOpen && !upload.isFinished) this.remove(upload);
      if (upload.id && !upload.isFinished && upload.wasOnServer && !isOnServer) {
        upload.cancel();
        this.remove(upload);
      }
      upload.wasOnServer ||= isOnServer;
    }
  }

  #add(file, match) {
    const upload = new Upload(file, (each) => this.#handleChange(each), match ?? {});
    this.#uploads.push(upload);
    if (file.size === 0) upload.reject(new ApiError({ code: "empty" }));
    else if (file.size > this.#limits.upload) {
      upload.reject(new ApiError({ code: "too_large", values: { limit: this.#limits.upload } }));
    } else this.#startNext();
  }

  #handleChange(upload) {
    if (upload.state === "done") this.#onDone(upload).finally(() => this.remove(upload));
    if (!upload.isActive) this.#startNext();
    this.#show();
  }

  #startNext() {
    const active = this.#uploads.filter((each) => each.isActive).length;
    const waiting = this.#uploads.filter((each) => each.state === "waiting");
    for (const upload of waiting.slice(0, Math.max(MAX_ACTIVE - active, 0))) upload.start();
    this.#show();
  }

  #show() {
    this.#otherWindows.update();
    this.#onChange();
  }
}
