// Sizes of results, and which one is the default. The arithmetic is that of frames/geometry.py.

const NAMED_SIZES = {
  "480p": [854, 480],
  "720p": [1280, 720],
  "1080p": [1920, 1080],
  "1440p": [2560, 1440],
  "2160p": [3840, 2160],
  "4320p": [7680, 4320],
};
const MAX_DEFAULT_PIXELS = 3840 * 2160;

const TOLERANCE = 1e-6; // the server computes with fractions

/** The nearest integer, of two the even one, as Python rounds. */
function round(value) {
  const below = Math.floor(value);
  return Math.abs(value - below - 0.5) < TOLERANCE ? below + (below % 2) : Math.round(value);
}

const even = (side) => Math.max(2 * round(side / 2), 2);

/** Width of a video or a result in square pixels. */
export const displayWidth = ({ width, pixel_aspect: pixelAspect }) => width * (pixelAspect ?? 1);

/** Factor by which {scale}, {size} or {height} enlarges, before sides are rounded; null for an unknown size. */
function requestedFactor(video, { scale, size, height }) {
  if (height != null) return height / video.height;
  if (size == null) return Number(scale ?? 4);
  if (!(size in NAMED_SIZES)) return null;
  const sides = [displayWidth(video), video.height].sort((a, b) => b - a); // as if it were wider than high
  const factor = Math.min(...sides.map((side, index) => NAMED_SIZES[size][index] / side));
  return factor * Math.max(video.pixel_aspect ?? 1, 1); // the larger one of both directions
}

/** The factor of the network that makes a size: the smallest one that reaches it, else the largest. */
export function nativeScale(video, body, scales) {
  const factor = requestedFactor(video, body);
  const ordered = [...new Set(scales)].sort((a, b) => a - b);
  return ordered.find((scale) => scale >= factor - TOLERANCE) ?? ordered.at(-1);
}

/** Size of the result for {scale}, {size} or {height}; null for an unknown size. A size has square pixels. */
export function resultSize(video, { scale, size, height }) {
  if (size != null) {
    if (!(size in NAMED_SIZES)) return null;
    let [maxWidth, maxHeight] = NAMED_SIZES[size];
    const shownWidth = displayWidth(video);
    if (shownWidth < video.height) [maxWidth, maxHeight] = [maxHeight, maxWidth];
    const factor = Math.min(maxWidth / shownWidth, maxHeight / video.height);
    return {
      width: shownWidth * factor > maxWidth - 0.001 ? maxWidth : even(shownWidth * factor),
      height: video.height * factor > maxHeight - 0.001 ? maxHeight : even(video.height * factor),
    };
  }
  if (height != null) return { width: even((video.width * height) / video.height), height };
  const factor = Number(scale ?? 4);
  const result = { width: round(video.width * factor), height: round(video.height * factor) };
  const evenHeight = result.height - (result.height % 2); // the server requests it in place of odd sides
  const hasOddSide = result.width % 2 || result.height % 2;
  return hasOddSide && evenHeight > video.height ? resultSize(video, { height: evenHeight }) : result;
}

/** Sizes to choose from: [{body: {scale} or {size}, width, height, isAllowed, isDefault}, ...]. */
export function sizeChoices(video, options) {
  const bodies = [...options.scales.map((scale) => ({ scale })), ...options.sizes.map((size) => ({ size }))];
  const choices = [];
  for (const body of bodies) {
    const result = resultSize(video, body);
    if (!result) continue;
    const factor = Math.max(result.width / video.width, result.height / video.height);
    const isLarger = result.width > video.width && result.height > video.height;
    if (!isLarger || factor > options.max_scale) continue;
    const isAllowed = result.width * result.height <= options.limits.result_pixels;
    choices.push({ body, ...result, isAllowed, isDefault: false });
  }
  const scales = choices.filter(({ body, isAllowed }) => body.scale && isAllowed);
  const largest = scales.filter(({ width, height }) => width * height <= MAX_DEFAULT_PIXELS).at(-1);
  const preselected = largest ?? scales[0] ?? choices.find(({ isAllowed }) => isAllowed);
  if (preselected) preselected.isDefault = true;
  return choices;
}
