// A result: the same frame before and after, with a line to move between them; what there is to know of it.

import { named } from "./choices.js";
import { piece, words } from "./dom.js";
import * as format from "./format.js";
import { current, text } from "./texts.js";

export class Comparison {
  #job;
  #parts;
  #moment = 0;
  #shown; // language and minute of the words that are shown

  constructor(job) {
    this.#job = job;
    const { root, parts } = piece("result");
    [this.root, this.#parts] = [root, parts];
    const { previews, moments, width, height } = job.result;
    parts.comparison.hidden = previews === 0;
    parts.comparison.style.setProperty("--ratio", width / height);
    parts.canvas.style.setProperty("--own-width", `${width / devicePixelRatio}px`);
    this.#addMoments(moments);
    parts.slider.addEventListener("input", () => this.#cut());
    parts.stage.addEventListener("scroll", () => this.#cut());
    parts.zoom.addEventListener("click", () => this.#zoom());
    parts.stage.addEventListener("pointerdown", (event) => this.#grab(event));
    new ResizeObserver(() => this.#cut()).observe(parts.stage);
    if (previews) this.#load();
  }

  /** Put all words in; again after a change of language. */
  update() {
    const shown = `${current()} ${Math.floor(Date.now() / 60000)}`;
    if (this.#shown === shown) return;
    this.#shown = shown;
    const { result, options } = this.#job;
    const rows = [
      ["name", result.name],
      ["size", format.bytes(result.size)],
      ["pixels", format.pixels(result)],
      ["frames", format.count(result.frames)],
      ["took", format.span(result.seconds)],
      ["model", named("model", options.model)],
      ["preset", named("preset", options.encode_preset)],
      ["expires", result.expires && format.moment(result.expires)],
    ];
    this.#parts.facts.replaceChildren(
      ...rows.filter(([, value]) => value).map(([key, value]) => fact(text(`result.${key}`), value)),
    );
    this.#parts.notices.replaceChildren(...result.notices.map((notice) => withText("li", notice)));
    this.#parts.notices.hidden = !result.notices.length;
    [...this.#parts.moments.children].forEach((chip, place) => {
      words(chip.querySelector("span"), format.clock(result.moments[place], true));
    });
    this.#describe();
  }

  #addMoments(moments) {
    moments.forEach((_, place) => {
      const chip = document.createElement("label");
      const radio = document.createElement("input");
      chip.className = "chip small";
      Object.assign(radio, { type: "radio", name: `moment-${this.#job.id}`, checked: place === 0 });
      radio.addEventListener("change", () => {
        this.#moment = place;
        this.#load();
        this.#describe();
      });
      chip.append(radio, document.createElement("span"));
      this.#parts.moments.append(chip);
    });
  }

  #load() {
    for (const side of ["before", "after"]) {
      this.#parts[side].src = `/api/jobs/${this.#job.id}/frames/${this.#moment}/${side}.png`;
    }
  }

  #describe() {
    const time = format.clock(this.#job.result.moments[this.#moment] ?? 0, true);
    this.#parts.before.alt = text("compare.before_alt", { time });
    this.#parts.after.alt = text("compare.after_alt", { time });
    this.#cut();
  }

  /** Move the line to where the slider says, in what is seen of the picture. */
  #cut() {
    const { stage, canvas, slider } = this.#parts;
    const share = slider.value / 100;
    canvas.style.setProperty("--cut", `${stage.scrollLeft + share * stage.clientWidth}px`);
    slider.setAttribute("aria-valuetext", text("compare.value", { percent: format.percent(share) }));
  }

  /** Every pixel of the new film on one of the screen, or the whole picture. */
  #zoom() {
    const { stage, zoom } = this.#parts;
    const close = stage.classList.toggle("close");
    zoom.setAttribute("aria-pressed", String(close));
    if (close) {
      stage.tabIndex = 0; // so that arrow keys move it
      stage.scrollTo((stage.scrollWidth - stage.clientWidth) / 2, (stage.scrollHeight - stage.clientHeight) / 2);
    } else stage.removeAttribute("tabindex");
    this.#cut();
  }

  /** The pointer moves the line; in the enlarged picture a mouse moves the picture, as a finger does anyway. */
  #grab(down) {
    const { stage, slider } = this.#parts;
    const close = stage.classList.contains("close");
    if (down.button !== 0 || (close && down.pointerType !== "mouse")) return;
    down.preventDefault();
    const [left, top] = [stage.scrollLeft, stage.scrollTop];
    const move = (event) => {
      if (close) stage.scrollTo(left + down.clientX - event.clientX, top + down.clientY - event.clientY);
      else {
        const box = stage.getBoundingClientRect();
        slider.value = ((event.clientX - box.left) / box.width) * 100;
        this.#cut();
      }
    };
    move(down);
    stage.setPointerCapture(down.pointerId);
    stage.addEventListener("pointermove", move);
    stage.addEventListener("lostpointercapture", () => stage.removeEventListener("pointermove", move), { once: true });
  }
}

function withText(tag, said) {
  const element = document.createElement(tag);
  element.textContent = said;
  return element;
}

function fact(name, value) {
  const row = document.createElement("div");
  row.append(withText("dt", name), withText("dd", value));
  return row;
}
