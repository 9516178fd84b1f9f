// Puts the libraries of /examples/notes/ where the page loads them; `npm --prefix demo ci` runs this.
//
//     node demo/copy_libraries.mjs [node_modules [folder]]

import { copyFile, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const FILES = {
  "htmx-2.js": "htmx.org/dist/htmx.min.js",
  "htmx-2-sse.js": "htmx-ext-sse/dist/sse.min.js",
  "htmx-4.js": "htmx-4/dist/htmx.min.js",
  "htmx-4-sse.js": "htmx-4/dist/ext/hx-sse.min.js",
  "turbo.js": "@hotwired/turbo/dist/turbo.es2017-esm.js",
};
const here = dirname(fileURLToPath(import.meta.url));
const [packages = join(here, "node_modules"), folder = join(here, "static/demo/lib")] = process.argv.slice(2);

await mkdir(folder, { recursive: true });
for (const [name, source] of Object.entries(FILES)) await copyFile(join(packages, source), join(folder, name));
