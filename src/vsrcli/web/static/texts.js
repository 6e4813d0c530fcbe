// Texts of the page in its language: JSON files in texts/, one key each. {name} is a placeholder.

const COOKIE_SECONDS = 365 * 24 * 3600;
let language = "en";
let texts = {};

/** Language of the texts: "en" or "ko". */
export const currentLanguage = () => language;

/** Load the texts of a language and put them into the page. */
export async function loadTexts(newLanguage) {
  const response = await fetch(`/static/texts/${newLanguage}.json`);
  texts = await response.json();
  language = newLanguage;
  document.documentElement.lang = newLanguage;
  applyTexts(document);
}

/** Whether there is a text with this key. */
export const hasText = (key) => Object.hasOwn(texts, key);

/** The text with this key, with values for its placeholders. */
export function text(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (placeholder, name) => values[name] ?? placeholder);
}

/** Set the texts of elements with data-text, and the accessible names of those with data-label. */
export function applyTexts(root) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", text(element.dataset.label));
  }
}

/** Let the links to other languages change the page in place (uploads continue), and remember the choice. */
export function setUpLanguageLinks(onChange) {
  const links = [...document.querySelectorAll(".languages a")];
  const markCurrent = () => {
    for (const link of links) {
      if (link.lang === language) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  for (const link of links) {
    link.addEventListener("click", async (event) => {
      event.preventDefault();
      document.cookie = `vsr_language=${link.lang}; path=/; max-age=${COOKIE_SECONDS}; samesite=lax`;
      history.replaceState(null, "", location.pathname); // a ?lang= there would win over the cookie
      try {
        await loadTexts(link.lang);
      } catch {
        return; // the server does not answer; the next page will be in that language
      }
      markCurrent();
      onChange?.();
    });
  }
  markCurrent();
}
