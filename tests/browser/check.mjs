// Looks at every page of a running Verbatim: `node check.mjs BASE_URL [SCREENSHOT_DIRECTORY]`.
//
// Starts at the overview and follows links to pages of the same origin. Each page is looked at wide
// and at 360 px, dark and light, and once without script. Prints one line a finding, and exits 1 if
// there is any.

import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import process from "node:process";
import { chromium } from "playwright-core";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
const PAGES_MAX = 40;
// Of pages that differ in nothing but what they are about, these many are looked at in every way.
const ALIKE_MAX = 8;
const WIDTHS = [1280, 360];
const SCHEMES = ["light", "dark"];
const ATTEMPTS_MAX = 5;

const [base, screenshots] = process.argv.slice(2);
const origin = new URL(base).origin;
const findings = [];
const find = (path, what) => findings.push(`${path}: ${what}`);

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  // The sandbox needs a user namespace of its own, which root's Chromium refuses to make.
  args: [
    ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

/** A page of its own context, which reports what it asks of others and what it complains about. */
async function open(options, path) {
  const context = await browser.newContext({ ...options });
  await context.route("**/*", (route) => {
    if (new URL(route.request().url()).origin === origin) return route.continue();
    find(path, `asks for ${route.request().url()}`);
    return route.abort();
  });
  const page = await context.newPage();
  page.on("console", (said) => {
    if (said.type() === "error") find(path, `console: ${said.text()}`);
  });
  page.on("pageerror", (error) => find(path, `script: ${error.message}`));
  const answer = await page.goto(origin + path, { waitUntil: "load" });
  if (answer.status() !== 200) find(path, `status ${answer.status()}`);
  return { context, page };
}

/** Links of a page to pages of the same origin. */
async function links(page) {
  const found = await page.$$eval("a[href]", (all) => all.map((link) => link.href));
  const own = found.map((href) => new URL(href)).filter((url) => url.origin === origin);
  return own.map((url) => url.pathname + url.search);
}

/** What a page is, without what it is about. */
function kind(path) {
  return path.replace(/^(\/[^/]+)\/.*/, "$1/…");
}

async function isPage(path) {
  const answer = await fetch(origin + path, { headers: { accept: "text/html" } });
  await answer.body?.cancel();
  const type = answer.headers.get("content-type") ?? "";
  // The reports of records are documents of their own.
  return type.startsWith("text/html") && !path.includes("/reports/");
}

async function headings(page) {
  return page.$$eval("h1, h2, th", (all) => all.map((one) => one.textContent).join("\n"));
}

async function look(path) {
  for (const width of WIDTHS) {
    for (const colorScheme of SCHEMES) {
      const viewport = { width, height: 900 };
      // The page's policy forbids foreign scripts, and axe is one.
      const { context, page } = await open({ viewport, colorScheme, bypassCSP: true }, path);
      await page.addScriptTag({ path: AXE });
      const found = await page.evaluate(() => globalThis.axe.run());
      for (const one of found.violations) {
        if (!["serious", "critical"].includes(one.impact)) continue;
        const where = one.nodes.slice(0, 3).map((node) => node.target.join(" ")).join(", ");
        find(path, `${width} px ${colorScheme}: ${one.id} (${one.impact}): ${one.help}: ${where}`);
      }
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      if (wide > width) find(path, `${width} px ${colorScheme}: is ${wide} px wide`);
      if (screenshots) {
        const name = path.replaceAll(/[^\w.-]/g, "_");
        await page.screenshot({
          path: `${screenshots}/${name}-${width}-${colorScheme}.png`,
          fullPage: true,
        });
      }
      await context.close();
    }
  }
  // As it is served: with its policy, without script between two looks with it. The daemon goes on
  // working: a page that changed between those two has not been compared yet.
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    const seen = [];
    for (const javaScriptEnabled of [true, false, true]) {
      const { context, page } = await open({ javaScriptEnabled }, path);
      seen.push(await headings(page));
      const cookies = await context.cookies();
      if (cookies.length) find(path, "sets a cookie");
      await context.close();
    }
    const [before, without, after] = seen;
    if (before === after && without === before) return;
    if (before === after) return find(path, "differs without script");
  }
  find(path, `changed during each of ${ATTEMPTS_MAX} looks`);
}

const pages = [];
const waiting = [new URL(base).pathname];
const known = new Set(waiting);
while (waiting.length && pages.length < PAGES_MAX) {
  const path = waiting.shift();
  if (!(await isPage(path))) continue;
  if (pages.filter((other) => kind(other) === kind(path)).length >= ALIKE_MAX) continue;
  pages.push(path);
  const { context, page } = await open({}, path);
  for (const next of await links(page)) {
    if (!known.has(next)) {
      known.add(next);
      waiting.push(next);
    }
  }
  await context.close();
  await look(path);
}
await browser.close();
for (const finding of findings) console.log(finding);
console.log(`${pages.length} pages, ${findings.length} findings: ${pages.join(" ")}`);
process.exit(findings.length || pages.length < 5 ? 1 : 0);
