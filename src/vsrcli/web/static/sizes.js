// What sizes a film can get, and which of them is offered first. The arithmetic is that of frames/geometry.py.

const SCREENS = {
  "480p": [854, 480],
  "720p": [1280, 720],
  "1080p": [1920, 1080],
  "1440p": [2560, 1440],
  "2160p": [3840, 2160],
  "4320p": [7680, 4320],
};
const COMFORTABLE = 3840 * 2160; // pixels that are offered without being asked for

const even = (side) => Math.max(2 * Math.round(side / 2), 2);

/** The size of a film after {scale}, {size} or {height}; null where that is no size known here. */
export function resultSize(film, { scale, size, height }) {
  if (size != null) {
    if (!(size in SCREENS)) return null;
    let [width, tall] = SCREENS[size];
    if (film.width < film.height) [width, tall] = [tall, width];
    const factor = Math.min(width / film.width, tall / film.height);
    return {
      width: film.width * factor > width - 0.001 ? width : even(film.width * factor),
      height: film.height * factor > tall - 0.001 ? tall : even(film.height * factor),
    };
  }
  if (height != null) return { width: even((film.width * height) / film.height), height };
  const factor = Number(scale ?? 4);
  return { width: Math.round(film.width * factor), height: Math.round(film.height * factor) };
}

/** What may be chosen for a film: [{ask: {scale} or {size}, width, height, possible, first}, ...]. */
export function choicesFor(film, options) {
  const asks = [...options.scales.map((scale) => ({ scale })), ...options.sizes.map((size) => ({ size }))];
  const found = [];
  for (const ask of asks) {
    const result = resultSize(film, ask);
    if (!result) continue;
    const factor = Math.max(result.width / film.width, result.height / film.height);
    const larger = result.width > film.width && result.height > film.height;
    if (!larger || factor > options.max_scale) continue;
    const possible = result.width * result.height <= options.limits.result_pixels;
    found.push({ ask, ...result, possible, first: false });
  }
  const scales = found.filter(({ ask, possible }) => ask.scale && possible);
  const largest = scales.filter(({ width, height }) => width * height <= COMFORTABLE).at(-1);
  const first = largest ?? scales[0] ?? found.find(({ possible }) => possible);
  if (first) first.first = true;
  return found;
}
