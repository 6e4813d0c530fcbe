// Pieces of the page: copies of its templates, and words put into them.

import { apply } from "./texts.js";

/** A copy of a template's one element, with its texts, and its named parts by name. */
export function piece(id) {
  const root = document.getElementById(id).content.firstElementChild.cloneNode(true);
  apply(root);
  const parts = {};
  for (const element of root.querySelectorAll("[data-part]")) {
    parts[element.dataset.part.replace(/-(\w)/g, (_, letter) => letter.toUpperCase())] = element;
  }
  return { root, parts };
}

/** Set words, or hide what has none. Only what changed is touched, so that screen readers are not disturbed. */
export function words(element, said) {
  if (element.textContent !== (said ?? "")) element.textContent = said ?? "";
  element.hidden = !said;
}

/** A sentence that may be the server's own, in English. */
export function sentence(element, said) {
  words(element, said?.text);
  if (said?.lang) element.lang = said.lang;
  else element.removeAttribute("lang");
}

/** Put children into an order, and nothing else; those in place keep their focus. */
export function order(parent, children) {
  for (const child of [...parent.children]) if (!children.includes(child)) child.remove();
  children.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
}

/** Show a share of 1, or that it is not known (null). */
export function progress(bar, share, label, said) {
  if (share == null) bar.removeAttribute("value");
  else bar.value = Math.round(share * 1000) / 10;
  bar.setAttribute("aria-label", label);
  bar.setAttribute("aria-valuetext", said);
}

const live = document.getElementById("said");

/** Have screen readers say it when they are done with what they say now. */
export function say(said) {
  const line = document.createElement("p");
  line.textContent = said;
  live.append(line);
  while (live.children.length > 4) live.firstElementChild.remove();
}

const dialog = document.getElementById("ask");
let answer = null; // to the question that is asked

dialog?.addEventListener("close", () => {
  if (dialog.open) return; // the event comes later than what it tells: the next question stands there already
  answer?.(dialog.returnValue === "yes");
  answer = null;
});

/** Ask before something that cannot be undone; whether the answer was yes. */
export function ask({ title, question, yes, no }) {
  const part = (name) => document.getElementById(`ask-${name}`);
  [part("title").textContent, part("text").textContent] = [title, question];
  [part("yes").textContent, part("no").textContent] = [yes, no];
  answer?.(false);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => (answer = resolve));
}
