// The login page: only its texts need a script.

import { loadTexts, setUpLanguageLinks } from "./texts.js";

await loadTexts(document.documentElement.lang);
setUpLanguageLinks();
