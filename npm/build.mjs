// Builds carillon.js and bell.js for the browser from the modules in `src`: files without a dependency.
//
//     cd tests/npm && npm ci && node ../../npm/build.mjs [folder]

import { mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const require = createRequire(join(process.cwd(), "_"));
const { build, transform } = require("esbuild");
const { minify } = require("terser");

const here = fileURLToPath(new URL(".", import.meta.url));
const folder = resolve(process.argv[2] ?? join(here, "../notifications/static/carillon"));

// The bell loads the carillon.js of the page. Its style is minified as a style.
const bell = {
  name: "bell",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\.\/carillon\.js$/ }, ({ path }) => ({ path, external: true }));
    onLoad({ filter: /inbox\/style\.js$/ }, async ({ path }) => {
      const { style } = await import(pathToFileURL(path));
      const { code } = await transform(style, { loader: "css", minify: true, target: ["chrome123", "firefox120", "safari17.5"] });
      return { contents: `export const style = ${JSON.stringify(code.trim())};` };
    });
  },
};

async function make(name, words, plugins = []) {
  const bundle = await build({
    entryPoints: [join(here, "src", name)],
    absWorkingDir: here,
    bundle: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    sourcemap: true,
    write: false,
    outfile: name,
    plugins,
  });
  const [map, code] = bundle.outputFiles.map((file) => file.text);
  const small = await minify(code, {
    module: true,
    ecma: 2022,
    compress: { passes: 3, unsafe_arrows: true, keep_fargs: false },
    // What the modules say to each other, and no name that others use.
    mangle: { properties: { regex: words } },
    format: { comments: false },
    sourceMap: { content: map, url: `${name}.map` },
  });
  await writeFile(join(folder, name), `${small.code}\n`);
  await writeFile(join(folder, `${name}.map`), `${small.map}\n`);
}

await mkdir(folder, { recursive: true });
await make(
  "carillon.js",
  /^(onBlock|onState|isFinal|noteElements|isNews|change|wake|slow|unnoticed|note|history|group)$/,
);
await make("bell.js", /^(isOpen|toasts|announce|filled|follow|opened|highest|isOffered|isBlocked|stateOf|pushed)$/, [bell]);
