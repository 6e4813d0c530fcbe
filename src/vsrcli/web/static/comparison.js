// A result: the same frame before and after, with a divider to move between them, and its properties.

import { optionLabel } from "./conversion-form.js";
import { cloneTemplate, setText } from "./dom.js";
import * as format from "./format.js";
import { displayWidth } from "./sizes.js";
import { currentLanguage, text } from "./texts.js";

export class Comparison {
  #job;
  #parts;
  #preview = 0; // index
  #shown; // language, minute and time of deletion of the texts on the page

  constructor(job) {
    this.#job = job;
    const { root, parts } = cloneTemplate("result");
    [this.root, this.#parts] = [root, parts];
    const { preview_times: times, height } = job.result;
    const width = displayWidth(job.result);
    parts.comparison.hidden = times.length === 0;
    parts.comparison.style.setProperty("--ratio", width / height);
    parts.canvas.style.setProperty("--native-width", `${width / devicePixelRatio}px`);
    this.#addPreviewChips(times);
    parts.slider.addEventListener("input", () => this.#moveDivider());
    parts.viewport.addEventListener("scroll", () => this.#moveDivider());
    parts.zoom.addEventListener("click", () => this.#toggleZoom());
    parts.viewport.addEventListener("pointerdown", (event) => this.#startDrag(event));
    new ResizeObserver(() => this.#moveDivider()).observe(parts.viewport);
    if (times.length) this.#loadPreview();
  }

  /** Set all texts; again after a change of language, or of the time at which the result is deleted. */
  update(job) {
    this.#job = job;
    const shown = `${currentLanguage()} ${Math.floor(Date.now() / 60000)} ${job.result.expires}`;
    if (this.#shown === shown) return;
    this.#shown = shown;
    const { result, options } = this.#job;
    const rows = [
      ["name", result.name],
      ["size", format.bytes(result.size)],
      ["resolution", format.resolution(result)],
      ["frames", format.count(result.frames)],
      ["elapsed", format.duration(result.elapsed_seconds)],
      ["model", optionLabel("model", options.model)],
      ["look", options.look && text(`look.${options.look}`)],
      ["strength", options.strength != null && options.strength < 1 && format.percent(options.strength)],
      ["preset", optionLabel("preset", options.encode_preset)],
      ["expires", result.expires && format.dateTime(result.expires)],
    ];
    this.#parts.properties.replaceChildren(
      ...rows.filter(([, value]) => value).map(([key, value]) => propertyRow(text(`result.${key}`), value)),
    );
    this.#parts.notices.replaceChildren(...result.notices.map((notice) => elementWithText("li", notice)));
    this.#parts.notices.hidden = !result.notices.length;
    [...this.#parts.previews.children].forEach((chip, index) => {
      setText(chip.querySelector("span"), format.timestamp(result.preview_times[index], true));
    });
    this.#describe();
  }

  #addPreviewChips(times) {
    times.forEach((_, index) => {
      const chip = document.createElement("label");
      const radio = document.createElement("input");
      chip.className = "chip small";
      Object.assign(radio, { type: "radio", name: `preview-${this.#job.id}`, checked: index === 0 });
      radio.addEventListener("change", () => {
        this.#preview = index;
        this.#loadPreview();
        this.#describe();
      });
      chip.append(radio, document.createElement("span"));
      this.#parts.previews.append(chip);
    });
  }

  #loadPreview() {
    for (const side of ["before", "after"]) {
      this.#parts[side].src = `/api/jobs/${this.#job.id}/frames/${this.#preview}/${side}.png`;
    }
  }

  #describe() {
    const time = format.timestamp(this.#job.result.preview_times[this.#preview] ?? 0, true);
    this.#parts.before.alt = text("compare.before_alt", { time });
    this.#parts.after.alt = text("compare.after_alt", { time });
    this.#moveDivider();
  }

  /** Move the divider to the position of the slider, within the visible part of the image. */
  #moveDivider() {
    const { viewport, canvas, slider } = this.#parts;
    const fraction = slider.value / 100;
    canvas.style.setProperty("--divider", `${viewport.scrollLeft + fraction * viewport.clientWidth}px`);
    slider.setAttribute("aria-valuetext", text("compare.value", { percent: format.percent(fraction) }));
  }

  /** Show every pixel of the result as one of the screen, or the whole image. */
  #toggleZoom() {
    const { viewport, zoom } = this.#parts;
    const isZoomed = viewport.classList.toggle("zoomed");
    zoom.setAttribute("aria-pressed", String(isZoomed));
    if (isZoomed) {
      viewport.tabIndex = 0; // so that arrow keys scroll it
      viewport.scrollTo(
        (viewport.scrollWidth - viewport.clientWidth) / 2,
        (viewport.scrollHeight - viewport.clientHeight) / 2,
      );
    } else viewport.removeAttribute("tabindex");
    this.#moveDivider();
  }

  /** The pointer moves the divider; in the zoomed image a mouse scrolls, as a finger does anyway. */
  #startDrag(down) {
    const { viewport, slider } = this.#parts;
    const isZoomed = viewport.classList.contains("zoomed");
    if (down.button !== 0 || (isZoomed && down.pointerType !== "mouse")) return;
    down.preventDefault();
    const [left, top] = [viewport.scrollLeft, viewport.scrollTop];
    const move = (event) => {
      if (isZoomed) viewport.scrollTo(left + down.clientX - event.clientX, top + down.clientY - event.clientY);
      else {
        const box = viewport.getBoundingClientRect();
        slider.value = ((event.clientX - box.left) / box.width) * 100;
        this.#moveDivider();
      }
    };
    move(down);
    viewport.setPointerCapture(down.pointerId);
    viewport.addEventListener("pointermove", move);
    viewport.addEventListener("lostpointercapture", () => viewport.removeEventListener("pointermove", move), {
      once: true,
    });
  }
}

function elementWithText(tag, content) {
  const element = document.createElement(tag);
  element.textContent = content;
  return element;
}

function propertyRow(name, value) {
  const row = document.createElement("div");
  row.append(elementWithText("dt", name), elementWithText("dd", value));
  return row;
}
