// The form that asks for a conversion. Everything is chosen already, so that one click is enough.

import { piece, sentence, words } from "./dom.js";
import * as format from "./format.js";
import { request, told } from "./server.js";
import { choicesFor } from "./sizes.js";
import { current, has, text } from "./texts.js";

/** What a model or an encoder preset is called; the server's words for those that the texts do not know. */
export function named(kind, name, fallback) {
  const key = `${kind}.${name}`;
  return has(key) ? text(key) : fallback ? `${name}: ${fallback}` : name;
}

/** How a size is called: 4×, Full HD. */
function sizeName({ scale, size }) {
  if (scale) return text("size.times", { count: format.count(Number(scale), 4) });
  return has(`size.${size}`) ? text(`size.${size}`) : size;
}

export class Choices {
  #film;
  #options;
  #onJob;
  #parts;
  #choices;
  #open;
  #language; // of the words that are shown

  /** onJob(job): a conversion has been queued. */
  constructor(film, options, onJob) {
    [this.#film, this.#options, this.#onJob] = [film, options, onJob];
    const { root, parts } = piece("choices");
    [this.root, this.#parts] = [root, parts];
    this.#choices = choicesFor(film, options);
    for (const choice of this.#choices) this.#addChip(choice);
    for (const [select, , names] of this.#lists) {
      for (const { name, default: first } of names) select.add(new Option("", name, first, first));
    }
    root.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    root.addEventListener("change", () => this.#show());
  }

  /** Put all words in; again after a change of language. Folded away where there are conversions already. */
  update(hasJobs) {
    if (hasJobs !== this.#open) {
      this.root.open = !hasJobs;
      this.#open = hasJobs;
    }
    this.root.classList.toggle("first", !hasJobs);
    if (this.#language === current()) return; // an open list of options is not touched
    this.#language = current();
    for (const choice of this.#choices) {
      words(choice.parts.title, sizeName(choice.ask));
      words(choice.parts.pixels, format.pixels(choice));
    }
    for (const [select, kind, names] of this.#lists) {
      names.forEach(({ name, summary, says }, place) => {
        select.options[place].textContent = named(kind, name, summary ?? says);
      });
      select.closest("label").hidden = names.length < 2;
    }
    this.#show();
  }

  /** What is chosen from lists; what is recommended comes first. */
  get #lists() {
    const sorted = (names) => [...names].sort((a, b) => Number(b.default) - Number(a.default));
    return [
      [this.#parts.model, "model", sorted(this.#options.models)],
      [this.#parts.preset, "preset", sorted(this.#options.encode_presets)],
    ];
  }

  #addChip(choice) {
    const { root, parts } = piece("size-chip");
    const radio = root.querySelector("input");
    radio.name = `size-${this.#film.id}`;
    radio.checked = choice.first;
    radio.disabled = !choice.possible;
    choice.parts = parts;
    choice.radio = radio;
    this.#parts.sizes.append(root);
  }

  get #chosen() {
    return this.#choices.find(({ radio }) => radio.checked);
  }

  #show() {
    const chosen = this.#chosen;
    words(this.#parts.from, format.pixels(this.#film));
    words(this.#parts.to, chosen ? format.pixels(chosen) : "");
    this.#parts.start.textContent = text(this.#busy ? "convert.starting" : "convert.start");
    this.#parts.start.disabled = !chosen;
    if (!chosen) words(this.#parts.problem, text("convert.none"));
  }

  #busy = false;

  async #submit() {
    if (this.#busy) return;
    this.#busy = true;
    this.#parts.start.setAttribute("aria-disabled", "true");
    sentence(this.#parts.problem, null);
    this.#show();
    try {
      const body = { ...this.#chosen.ask };
      if (this.#parts.model.value) body.model = this.#parts.model.value;
      if (this.#parts.preset.value) body.encode_preset = this.#parts.preset.value;
      this.#onJob(await request("POST", `/api/films/${this.#film.id}/jobs`, body));
    } catch (error) {
      sentence(this.#parts.problem, told(error));
    } finally {
      this.#busy = false;
      this.#parts.start.removeAttribute("aria-disabled");
      this.#show();
    }
  }
}
