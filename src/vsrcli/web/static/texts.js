// Texts of the page in its language: plain files in texts/, one key each. {name} is filled in.

let language = "en";
let texts = {};

/** The language that the texts are in: "en" or "ko". */
export const current = () => language;

/** Load a language's texts and put them into the page. */
export async function use(wanted) {
  const answer = await fetch(`/static/texts/${wanted}.json`);
  texts = await answer.json();
  language = wanted;
  document.documentElement.lang = wanted;
  apply(document);
}

/** Whether there is a text of this name. */
export const has = (key) => Object.hasOwn(texts, key);

/** The text of this name, with {values} filled in. */
export function text(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Fill in everything that carries data-text (its words) or data-label (its name for screen readers). */
export function apply(root) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", text(element.dataset.label));
  }
}

/** Make the links to other languages change the page in place (uploads go on), and remember the choice. */
export function languageLinks(onChange) {
  const links = [...document.querySelectorAll(".languages a")];
  const mark = () => {
    for (const link of links) {
      if (link.lang === language) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  for (const link of links) {
    link.addEventListener("click", async (event) => {
      event.preventDefault();
      const year = 365 * 24 * 3600;
      document.cookie = `vsr_language=${link.lang}; path=/; max-age=${year}; samesite=lax`;
      history.replaceState(null, "", location.pathname); // a ?lang= there would win over the cookie
      try {
        await use(link.lang);
      } catch {
        return; // the server does not answer; the next page is in that language
      }
      mark();
      onChange?.();
    });
  }
  mark();
}
