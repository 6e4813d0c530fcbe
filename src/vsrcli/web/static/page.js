// The page: films on their way, films on the server, and what is done with them.

import { order, say, words } from "./dom.js";
import { dropzone } from "./drop.js";
import { Feed } from "./feed.js";
import { FilmCard } from "./film-card.js";
import * as format from "./format.js";
import { Refused, request } from "./server.js";
import { languageLinks, text, use } from "./texts.js";
import { Uploads } from "./uploads.js";

const part = (id) => document.getElementById(id);
const cards = new Map(); // by the film's id, and by the upload's key
let options, feed, uploads;
let loaded = false;

function show() {
  if (!uploads || !loaded) return;
  const entries = uploads.all.filter((sending) => !feed.film(sending.id)).map((sending) => [null, sending]);
  for (const film of feed.films.reverse()) entries.push([film, uploads.of(film) ?? null]);
  const shown = entries.map(([film, sending]) => {
    const card = cards.get(film?.id) ?? cards.get(sending?.key) ?? new FilmCard({ feed, uploads, options });
    if (film) cards.set(film.id, card);
    if (sending) cards.set(sending.key, card);
    card.update(film, sending);
    return card;
  });
  for (const [key, card] of cards) if (!shown.includes(card)) cards.delete(key);
  order(part("list"), shown.map(({ root }) => root));
  part("empty").hidden = shown.length > 0;
  part("drop").classList.toggle("small", shown.length > 0);
  showTitle();
}

/** The tab says how far the first running job is. */
function showTitle() {
  const running = feed.films.flatMap((film) => film.jobs.map((job) => ({ film, job }))).find(({ job }) => job.state === "running");
  const share = running?.job.total ? (running.job.done ?? 0) / running.job.total : null;
  document.title = share === null ? "vsr" : `${format.percent(share)} · ${running.film.name} · vsr`;
}

function showLimits() {
  const { upload, duration, pixels } = options.limits;
  const values = {
    size: format.bytes(upload),
    duration: format.span(duration),
    pixels: text("pixels.limit", { count: format.large(pixels) }),
  };
  words(part("limits"), text("drop.limits", values));
  words(part("keeping"), text("films.keeping", { time: format.span(options.keep) }));
}

/** Ask again until the server answers: without its limits there is nothing to show. */
async function patiently(what) {
  for (;;) {
    try {
      return await what();
    } catch (error) {
      if (!(error instanceof Refused && error.passing)) throw error;
      part("offline").hidden = false;
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}

async function begin() {
  await use(document.documentElement.lang);
  options = await patiently(() => request("GET", "/api/options"));
  feed = new Feed({
    onChange: (films) => {
      loaded = true;
      uploads.drop(films);
      show();
    },
    onReach: (reached) => (part("offline").hidden = reached),
  });
  uploads = new Uploads({
    feed,
    limits: options.limits,
    onChange: show,
    onDone: ({ file }) => {
      say(text("upload.done_said", { name: file.name }));
      return feed.refresh().catch(() => {});
    },
  });
  dropzone(part("drop"), part("files"), (files) => {
    if (files.length) say(files.map(({ name }) => text("upload.started_said", { name })).join(" "));
    uploads.add(files);
  });
  languageLinks(() => {
    showLimits();
    show();
  });
  showLimits();
  await feed.start();
  await uploads.tidy();
}

await begin();
