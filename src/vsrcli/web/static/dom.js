// Elements of the page: copies of its templates, their texts, announcements and confirmations.

import { applyTexts } from "./texts.js";

/** Copy a template; return its one element, with texts, and its named parts by name. */
export function cloneTemplate(id) {
  const root = document.getElementById(id).content.firstElementChild.cloneNode(true);
  applyTexts(root);
  const parts = {};
  for (const element of root.querySelectorAll("[data-part]")) {
    parts[element.dataset.part.replace(/-(\w)/g, (_, letter) => letter.toUpperCase())] = element;
  }
  return { root, parts };
}

/** Set the text, or hide the element without one. Unchanged text is not set, which would disturb screen readers. */
export function setText(element, content) {
  if (element.textContent !== (content ?? "")) element.textContent = content ?? "";
  element.hidden = !content;
}

/** Set a message {text, lang}, or hide the element without one. */
export function setMessage(element, message) {
  setText(element, message?.text);
  if (message?.lang) element.lang = message.lang;
  else element.removeAttribute("lang");
}

/**
 * Make these the children of an element, in this order; those in place keep their focus. The focus of one that is
 * removed goes to its neighbour, or to the fallback if none is left.
 */
export function setChildren(parent, children, fallback) {
  const previous = [...parent.children];
  const focused = previous.findIndex((child) => child.contains(document.activeElement));
  const isLost = focused >= 0 && !children.includes(previous[focused]);
  const next = previous.slice(focused + 1).find((child) => children.includes(child));
  for (const child of [...parent.children]) if (!children.includes(child)) child.remove();
  children.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  if (isLost) (next ?? children.at(-1) ?? fallback).focus();
}

/** Set a progress bar to a fraction of 1, or to unknown (null). */
export function setProgress(bar, fraction, label, valueText) {
  if (fraction == null) bar.removeAttribute("value");
  else bar.value = Math.round(fraction * 1000) / 10;
  bar.setAttribute("aria-label", label);
  bar.setAttribute("aria-valuetext", valueText);
}

const announcer = document.getElementById("announcer");

/** Have screen readers announce a sentence when they are idle. */
export function announce(sentence) {
  const line = document.createElement("p");
  line.textContent = sentence;
  announcer.append(line);
  while (announcer.children.length > 4) announcer.firstElementChild.remove();
}

const dialog = document.getElementById("confirm");
let resolveAnswer = null; // of the question that is open

dialog?.addEventListener("close", () => {
  if (dialog.open) return; // the event is delivered late: the next question is open already
  resolveAnswer?.(dialog.returnValue === "yes");
  resolveAnswer = null;
});

/** Ask before something that cannot be undone; resolve to whether the answer was yes. */
export function confirmAction({ title, question, yes, no }) {
  const part = (name) => document.getElementById(`confirm-${name}`);
  [part("title").textContent, part("text").textContent] = [title, question];
  [part("yes").textContent, part("no").textContent] = [yes, no];
  resolveAnswer?.(false);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => (resolveAnswer = resolve));
}
