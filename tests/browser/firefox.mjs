// Tabs of a real Firefox, for a test that sends commands by lines of JSON:
// {"open": url}, {"go": url, "tab": number}, {"evaluate": code, "tab": number}, {"close": number},
// {"leave": true}, after which nothing is open and no page knows what others have stored.
// Each gets one line back, and so does the start of Firefox.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const require = createRequire(join(process.cwd(), "_"));
const { default: puppeteer } = await import(require.resolve("puppeteer-core"));
const [executablePath] = process.argv.slice(2);
const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath,
  headless: true,
  timeout: 120_000,
  // Puppeteer switches the back/forward cache off, which people have.
  extraPrefsFirefox: { "fission.bfcacheInParent": true, "browser.sessionhistory.max_total_viewers": 8 },
});
let context = await browser.createBrowserContext();
let tabs = [];
process.stdout.write("started\n");

async function run({ open, go, evaluate, tab, close, leave }) {
  if (open) {
    const page = await context.newPage();
    await page.goto(open);
    return tabs.push(page) - 1;
  }
  if (go) return (await tabs[tab].goto(go)).status();
  if (evaluate) return (await tabs[tab].evaluate(evaluate)) ?? null;
  if (leave) {
    await context.close();
    context = await browser.createBrowserContext();
    tabs = [];
    return null;
  }
  return (await tabs[close].close()) ?? null;
}

for await (const line of createInterface(process.stdin)) {
  const answer = await run(JSON.parse(line)).then(
    (result) => ({ result }),
    (error) => ({ error: String(error) }),
  );
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
