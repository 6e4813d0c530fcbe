// The page that asks for the token: only its texts need a script.

import { languageLinks, use } from "./texts.js";

await use(document.documentElement.lang);
languageLinks();
