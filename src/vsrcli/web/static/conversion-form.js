// The form that requests a conversion. Everything is preselected, so that one click is enough.

import { localizeError, request } from "./api.js";
import { cloneTemplate, setMessage, setText } from "./dom.js";
import * as format from "./format.js";
import { nativeScale, sizeChoices } from "./sizes.js";
import { currentLanguage, hasText, text } from "./texts.js";

/** Name of a model; of a network of others with its licence. */
function modelLabel({ name, summary, imported, licence }) {
  if (!imported) return optionLabel("model", name, summary);
  return text("model.imported", { name, licence: licence ?? text("licence.unknown") });
}

/** Name of a model or an encoder preset; the server's description for those without a text. */
export function optionLabel(kind, name, description) {
  const key = `${kind}.${name}`;
  return hasText(key) ? text(key) : description ? `${name}: ${description}` : name;
}

/** Name of a size: 4×, Full HD. */
function sizeLabel({ scale, size }) {
  if (scale) return text("size.times", { count: format.count(Number(scale), 4) });
  return hasText(`size.${size}`) ? text(`size.${size}`) : size;
}

export class ConversionForm {
  #video;
  #options;
  #onJob;
  #parts;
  #choices;
  #isOpen;
  #language; // of the texts on the page
  #isBusy = false;

  /** onJob(job): a conversion has been queued. */
  constructor(video, options, onJob) {
    [this.#video, this.#options, this.#onJob] = [video, options, onJob];
    const { root, parts } = cloneTemplate("conversion-form");
    [this.root, this.#parts] = [root, parts];
    this.#choices = sizeChoices(video, options);
    for (const choice of this.#choices) this.#addChip(choice);
    for (const [select, , entries] of this.#selects) {
      for (const { name, default: isDefault } of entries) select.add(new Option("", name, isDefault, isDefault));
    }
    root.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#setUpLook();
    root.addEventListener("change", () => this.#show());
  }

  /** Set all texts; again after a change of language. Collapsed where there are conversions already. */
  update(hasJobs) {
    this.root.classList.toggle("first", !hasJobs);
    if (hasJobs !== this.#isOpen) {
      const hadFocus = this.root.contains(document.activeElement);
      this.root.open = !hasJobs;
      this.#isOpen = hasJobs;
      if (hadFocus) this.focus();
    }
    if (this.#language === currentLanguage()) return; // an open list of options is not touched
    this.#language = currentLanguage();
    for (const choice of this.#choices) {
      setText(choice.parts.title, sizeLabel(choice.body));
      setText(choice.parts.pixels, format.resolution(choice));
    }
    for (const [select, kind, entries] of this.#selects) {
      entries.forEach((entry, index) => {
        const { name, description } = entry;
        select.options[index].textContent = kind === "model" ? modelLabel(entry) : optionLabel(kind, name, description);
      });
      select.closest("label").hidden = entries.length < 2;
    }
    this.#show();
  }

  /** Move the focus to the form: to its summary, or while there is none, to the selected size. */
  focus() {
    if (this.root.classList.contains("first")) this.#selected?.radio.focus();
    else this.root.querySelector("summary").focus();
  }

  /** [element, kind, entries] of every select; the default comes first. */
  get #selects() {
    const sorted = (entries) => [...entries].sort((a, b) => Number(b.default) - Number(a.default));
    return [
      [this.#parts.model, "model", sorted(this.#options.models)],
      [this.#parts.preset, "preset", sorted(this.#options.encode_presets)],
    ];
  }

  get #model() {
    return this.#options.models.find(({ name }) => name === this.#parts.model.value);
  }

  /** Look, strength and colour: names of their controls, and values that follow the model. */
  #setUpLook() {
    const { model, modelHint, look, lookHint, strength, strengthLabel, strengthHint, keepColor } = this.#parts;
    const hints = { "model-hint": modelHint, "look-hint": lookHint, "strength-hint": strengthHint };
    for (const [name, part] of Object.entries({ strength, ...hints })) {
      part.id = `${name}-${this.#video.id}`;
    }
    model.setAttribute("aria-describedby", modelHint.id);
    look.setAttribute("aria-describedby", lookHint.id);
    strengthLabel.htmlFor = strength.id;
    strength.setAttribute("aria-describedby", strengthHint.id);
    strength.addEventListener("input", () => this.#showLook());
    model.addEventListener("change", () => (keepColor.checked = this.#model.keep_color));
    keepColor.checked = Boolean(this.#model?.keep_color);
  }

  /** Whether there are sharp weights for the selected model and size. */
  get #hasSharp() {
    const [model, selected] = [this.#model, this.#selected];
    if (!model?.sharp_scales.length || !selected) return false;
    const scales = [...model.scales, ...model.sharp_scales];
    return model.sharp_scales.includes(nativeScale(this.#video, selected.body, scales));
  }

  /** Show the look where there are two, strength for networks, and colour for networks of others. */
  #showLook() {
    const { modelHint, look, lookField, strength, strengthHint, strengthField, strengthValue, colorField } = this.#parts;
    const { network, imported, licence } = this.#model ?? {};
    setText(modelHint, imported ? text("model.imported_hint", { licence: licence ?? text("licence.none") }) : "");
    lookField.hidden = !this.#hasSharp;
    strengthField.hidden = !network;
    const isSharp = this.#hasSharp && look.value === "sharp";
    setText(strengthHint, text(isSharp ? "convert.strength_sharp_hint" : "convert.strength_hint"));
    colorField.hidden = !imported;
    const percent = format.percent(strength.value / 100);
    setText(strengthValue, percent);
    strength.setAttribute("aria-valuetext", percent);
  }

  /** Options that differ from the model's defaults. */
  get #look() {
    const { look: lookSelect, strength, keepColor } = this.#parts;
    const look = {};
    if (this.#hasSharp && lookSelect.value === "sharp") look.look = "sharp";
    if (this.#model?.network && strength.value !== "100") look.strength = strength.value / 100;
    if (this.#model?.imported && keepColor.checked !== this.#model.keep_color) look.keep_color = keepColor.checked;
    return look;
  }

  #addChip(choice) {
    const { root, parts } = cloneTemplate("size-chip");
    const radio = root.querySelector("input");
    radio.name = `size-${this.#video.id}`;
    radio.checked = choice.isDefault;
    radio.disabled = !choice.isAllowed;
    choice.parts = parts;
    choice.radio = radio;
    this.#parts.sizes.append(root);
  }

  get #selected() {
    return this.#choices.find(({ radio }) => radio.checked);
  }

  #show() {
    const selected = this.#selected;
    this.#showLook();
    setText(this.#parts.from, format.resolution(this.#video));
    setText(this.#parts.to, selected ? format.resolution(selected) : "");
    this.#parts.start.textContent = text(this.#isBusy ? "convert.starting" : "convert.start");
    this.#parts.start.disabled = !selected;
    if (!selected) setText(this.#parts.error, text("convert.none"));
  }

  async #submit() {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#parts.start.setAttribute("aria-disabled", "true");
    setMessage(this.#parts.error, null);
    this.#show();
    try {
      const body = { ...this.#selected.body, ...this.#look };
      if (this.#parts.model.value) body.model = this.#parts.model.value;
      if (this.#parts.preset.value) body.encode_preset = this.#parts.preset.value;
      this.#onJob(await request("POST", `/api/videos/${this.#video.id}/jobs`, body));
    } catch (error) {
      setMessage(this.#parts.error, localizeError(error));
    } finally {
      this.#isBusy = false;
      this.#parts.start.removeAttribute("aria-disabled");
      this.#show();
    }
  }
}
