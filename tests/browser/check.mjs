// Looks at every page of a running Verbatim: `node check.mjs BASE_URL [SCREENSHOT_DIRECTORY]`.
//
// Starts at the overview and follows links to pages of the same origin, and to the reports of
// records; what is not HTML is left out. Each page is looked at wide and at 360 px, dark and light,
// with everything open that can be folded, and once without script. Prints one line a finding, and
// exits 1 if there is any.

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
// axe takes a minute for a report of thousands of members: such a page is seen in two ways.
const LARGE_BYTES = 500_000;
// Nothing is published here.
const MISSING = "/no-such-page";
// Of each of these some page has to be looked at.
const KINDS = {
  overview: /^\/$/,
  release: /^\/releases\/[^/]+$/,
  record: /^\/records\/[^/]+$/,
  job: /^\/jobs\/[^/]+$/,
  queue: /^\/queue$/,
  about: /^\/about$/,
  embed: /^\/embed$/,
  api: /^\/api$/,
  report: /^\/records\/[^/]+\/reports\/.+\.difference\.html$/,
  "404": new RegExp(`^${MISSING}$`),
};

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

/** What is to be answered at `path`. */
const statusOf = (path) => (path === MISSING ? 404 : 200);

/** Whether `path` is a report: a document of its own, served in a sandbox. */
const isReport = (path) => path.includes("/reports/");

/** A page of its own context, which reports what it asks of others and what it complains about. */
async function open(options, path) {
  const context = await browser.newContext({ ...options });
  await context.route("**/*", async (route) => {
    const url = route.request().url();
    if (new URL(url).origin !== origin) {
      find(path, `asks for ${url}`);
      return route.abort();
    }
    // `bypassCSP` does not open a sandbox, in which axe cannot run: the same bytes without headers.
    if (!options.bypassCSP || !isReport(new URL(url).pathname)) return route.continue();
    const { status, contentType, body } = await fetched(url);
    return route.fulfill({ status, contentType, body });
  });
  const page = await context.newPage();
  page.on("console", (said) => {
    // Chromium says of the page itself that it is not there.
    const isMissing = statusOf(path) === 404 && said.location().url === origin + path;
    if (said.type() === "error" && !isMissing) find(path, `console: ${said.text()}`);
  });
  page.on("pageerror", (error) => find(path, `script: ${error.message}`));
  const answer = await page.goto(origin + path, { waitUntil: "load" });
  if (answer.status() !== statusOf(path)) find(path, `status ${answer.status()}`);
  return { context, page };
}

/** What is served to a browser at `url`. */
async function fetched(url) {
  const answer = await fetch(url, { headers: { accept: "text/html" } });
  const contentType = answer.headers.get("content-type") ?? "";
  return { status: answer.status, contentType, body: await answer.text() };
}

/** Opens what a reader can open: nobody looks into what is folded, axe neither. */
async function unfold(page) {
  await page.$$eval("details", (all) => all.forEach((one) => (one.open = true)));
}

/** Links of a page to pages of the same origin. */
async function links(page) {
  const found = await page.$$eval("a[href]", (all) => all.map((link) => link.href));
  const own = found.map((href) => new URL(href)).filter((url) => url.origin === origin);
  return own.map((url) => url.pathname + url.search);
}

/** What a page is, without what it is about. */
function kind(path) {
  return isReport(path) ? "a report" : path.replace(/^(\/[^/]+)\/.*/, "$1/…");
}

async function isPage(path) {
  const answer = await fetch(origin + path, { headers: { accept: "text/html" } });
  await answer.body?.cancel();
  return (answer.headers.get("content-type") ?? "").startsWith("text/html");
}

async function headings(page) {
  return page.$$eval("h1, h2, th", (all) => all.map((one) => one.textContent).join("\n"));
}

async function look(path) {
  const isLarge = (await fetched(origin + path)).body.length > LARGE_BYTES;
  const ways = WIDTHS.flatMap((width) => SCHEMES.map((colorScheme) => ({ width, colorScheme })));
  for (const { width, colorScheme } of isLarge ? [ways.at(0), ways.at(-1)] : ways) {
    const viewport = { width, height: 900 };
    // The page's policy forbids foreign scripts, and axe is one.
    const { context, page } = await open({ viewport, colorScheme, bypassCSP: true }, path);
    await unfold(page);
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
        fullPage: !isLarge,
      });
    }
    await context.close();
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
const waiting = [new URL(base).pathname, MISSING];
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
for (const [name, form] of Object.entries(KINDS)) {
  if (!pages.some((path) => form.test(path))) find(name, "no such page was looked at");
}
for (const finding of findings) console.log(finding);
console.log(`${pages.length} pages, ${findings.length} findings: ${pages.join(" ")}`);
process.exit(findings.length ? 1 : 0);
