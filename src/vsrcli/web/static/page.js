// The page: uploads, videos on the server, and their conversions.

import { ApiError, localizeError, request } from "./api.js";
import { announce, setChildren, setMessage, setText } from "./dom.js";
import { setUpDropzone } from "./dropzone.js";
import { Feed } from "./feed.js";
import * as format from "./format.js";
import { loadTexts, setUpLanguageLinks, text } from "./texts.js";
import { UploadQueue } from "./upload-queue.js";
import { VideoCard } from "./video-card.js";

const RETRY_DELAY = 2000; // milliseconds
const part = (id) => document.getElementById(id);
const cards = new Map(); // by the video's id, and by the upload's key
let options, feed, uploads;
let isLoaded = false;
let problem = null; // why the server cannot be asked: an error

function show() {
  if (!uploads || !isLoaded) return;
  const entries = uploads.all.filter((upload) => !feed.video(upload.id)).map((upload) => [null, upload]);
  for (const video of feed.videos.reverse()) {
    if (!uploads.isHidden(video)) entries.push([video, uploads.forVideo(video) ?? null]);
  }
  const shown = entries.map(([video, upload]) => {
    const card = cards.get(video?.id) ?? cards.get(upload?.key) ?? new VideoCard({ feed, uploads, options });
    if (video) cards.set(video.id, card);
    if (upload) cards.set(upload.key, card);
    card.update(video, upload);
    return card;
  });
  for (const [key, card] of cards) if (!shown.includes(card)) cards.delete(key);
  setChildren(part("list"), shown.map(({ root }) => root), part("videos"));
  part("empty").hidden = shown.length > 0;
  part("dropzone").classList.toggle("small", shown.length > 0);
  showTitle();
}

/** Show the progress of the first running job in the title of the tab. */
function showTitle() {
  const running = feed.videos
    .flatMap((video) => video.jobs.map((job) => ({ video, job })))
    .find(({ job }) => job.state === "running");
  const fraction = running?.job.total ? (running.job.done ?? 0) / running.job.total : null;
  document.title = fraction === null ? "vsr" : `${format.percent(fraction)} · ${running.video.name} · vsr`;
}

function showLimits() {
  const { upload, duration, pixels } = options.limits;
  const values = {
    size: format.bytes(upload),
    duration: format.duration(duration),
    pixels: text("pixels.limit", { count: format.largeCount(pixels) }),
  };
  setText(part("limits"), text("drop.limits", values));
  setText(part("retention"), text("videos.retention", { time: format.duration(options.keep) }));
}

const isTemporary = (error) => error instanceof ApiError && error.isTemporary;

/** Say why the page stands still, or null: it does not; again after a change of language. */
function showProblem(error) {
  problem = error;
  setMessage(part("offline"), error && (isTemporary(error) ? { text: text("offline") } : localizeError(error)));
}

/** Repeat an action until the server answers: without its limits there is nothing to show. */
async function retryUntilReachable(action) {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (!isTemporary(error)) throw error;
      showProblem(error);
      await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY));
    }
  }
}

async function start() {
  await loadTexts(document.documentElement.lang);
  options = await retryUntilReachable(() => request("GET", "/api/options"));
  feed = new Feed({
    onChange: (videos, isCertain) => {
      isLoaded = true;
      if (isCertain) uploads.cancelDeleted(videos);
      show();
    },
    onProblem: (error) => {
      if (problem && !error) uploads.retryNow();
      showProblem(error);
    },
  });
  uploads = new UploadQueue({
    feed,
    limits: options.limits,
    onChange: show,
    onDone: ({ file }) => {
      announce(text("upload.done_announced", { name: file.name }));
      return feed.refresh().catch(() => {});
    },
  });
  setUpDropzone(part("dropzone"), part("files"), async (files) => {
    const elsewhere = await uploads.add(files);
    const key = (file) => (elsewhere.includes(file) ? "upload.elsewhere" : "upload.started_announced");
    if (files.length) announce(files.map((file) => text(key(file), { name: file.name })).join(" "));
  });
  setUpLanguageLinks(() => {
    showProblem(problem);
    showLimits();
    show();
  });
  showLimits();
  await feed.start();
  await uploads.forgetUnknown();
}

try {
  await start();
} catch (error) {
  showProblem(error);
  if (!(error instanceof ApiError)) throw error;
}
