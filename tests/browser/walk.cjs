// Walks through the pages in Chromium: node walk.cjs BASE USER PASSWORD PORT [DIRECTORY FOR SCREENSHOTS]
// The registry admits pages of http://127.0.0.1:PORT (web.cors_origins).
//
// Every page is checked by axe-core. A message in the console, a report of the Content-Security-Policy, a dialog of a
// hostile text, a failed request or a page wider than the screen is a failure.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { chromium } = require("playwright-core");
const { people, seed } = require("./seed.cjs");

const [base, user, password, port, screenshots] = process.argv.slice(2);
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const failures = [];
let checked = 0;

function fail(text) {
  failures.push(text);
  console.log("FAILED", text);
}

function expect(condition, text) {
  if (!condition) fail(text);
}

// A browser window with its settings, which reports every message.
async function open(browser, name, settings) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 760 }, ...settings });
  const page = await context.newPage();
  page.on("console", (message) => fail(`${name}: console: ${message.text()} on ${page.url()}`));
  page.on("pageerror", (error) => fail(`${name}: ${error.message} on ${page.url()}`));
  page.on("dialog", (dialog) => { fail(`${name}: a dialog: ${dialog.message()} on ${page.url()}`); dialog.dismiss(); });
  return { name, context, page };
}

// Runs axe-core in an isolated world, which the policy of the page does not reach, so that the policy stays on.
async function check({ name, context, page }, where, screenshot) {
  checked += 1;
  const session = await context.newCDPSession(page);
  const { frameTree } = await session.send("Page.getFrameTree");
  const world = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: "axe" });
  const run = async (expression) => {
    const options = { expression, contextId: world.executionContextId, awaitPromise: true, returnByValue: true };
    return (await session.send("Runtime.evaluate", options)).result.value;
  };
  await run(axe);
  const found = await run(
    "axe.run().then((r) => JSON.stringify(r.violations.map((v) => [v.id, v.nodes.map((n) => n.html).slice(0, 3)])))");
  if (found !== "[]") fail(`${name} ${where}: axe: ${found}`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(wide <= 0, `${name} ${where}: the page is ${wide} px wider than the screen`);
  expect(await page.locator("h1").count() === 1, `${name} ${where}: it has no single h1`);
  await session.detach();
  if (screenshot && screenshots) await page.screenshot({ path: path.join(screenshots, `${screenshot}.png`) });
}

async function visit(window, address, screenshot) {
  const response = await window.page.goto(base + address);
  expect(response.status() === 200, `${window.name} ${address}: ${response.status()}`);
  await check(window, address, screenshot);
  if (await window.page.locator("details.confirm").count()) {
    await window.page.evaluate(() => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
    await check(window, `${address} with confirmations`);
  }
  if (window.language === "zh") await checkChinese(window, address);
}

// English phrases on a Chinese page that pushers and owners wrote: descriptions of seed.cjs.
const WRITTEN = ["The storefront: serves pages", "The storefront on Kubernetes", "The whole company", "Sorts incoming mail"];
// Names of products, formats, accounts and repositories are one or two words.
const PHRASE = /([A-Za-z']{2,}[,.:;]? ){2}[A-Za-z']{2,}/;

// Text in code is that of programs and pushers, and lang="en" marks the rest that is English on purpose.
async function checkChinese({ name, page }, where) {
  const texts = await page.evaluate(() => {
    const aside = "code, pre, kbd, samp, script, style, option, textarea, .name, .description, .pushed, [lang=en], [translate=no]";
    const found = [];
    const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (nodes.nextNode()) {
      if (!nodes.currentNode.parentElement.closest(aside)) found.push(nodes.currentNode.data.trim());
    }
    for (const element of document.querySelectorAll("[aria-label], [title], [placeholder], [data-label]")) {
      if (element.closest(aside)) continue;
      for (const attribute of ["aria-label", "title", "data-label"]) found.push(element.getAttribute(attribute) ?? "");
    }
    return found;
  });
  for (const text of new Set(texts)) {
    const isWritten = WRITTEN.some((written) => text.startsWith(written));
    if (PHRASE.test(text) && !isWritten) fail(`${name} ${where}: not in Chinese: ${text.slice(0, 120)}`);
  }
}

async function signIn({ page }, to = "/") {
  await page.goto(`${base}/-/sign-in?to=${encodeURIComponent(to)}`);
  await page.fill("#name", user);
  await page.fill("#password", password);
  await page.press("#password", "Enter");
  await page.waitForURL(base + to);
}

const PAGES = [
  "/", "/?sort=pushed", "/?namespace=team", "/?q=app", "/?q=nothing-like-it", "/team/app", "/team/app:1.4",
  "/team/app:1.4?platform=linux/arm/v7", "/team/app:sbom", "/-/compare/team/app?from=1.3&to=1.4-debug",
  "/charts/web", "/charts/web:0.3.0", "/team/model", "/team/model:2.1", "/?sort=size", "/?sort=pulls", "/zz/hostile", "/zz/hostile:1", "/zz/hostile:file", "/-/account",
  "/-/access?account=root&repository=team/app", "/-/organisations", "/-/organisations/acme", "/-/admin", "/-/admin/accounts", `/-/admin/accounts/${user}`,
  "/-/grants", "/-/grants?repository=team/app", "/-/admin/usage", "/-/admin/audit", "/-/delete/team/app:1.3", "/-/delete/team/app",
  "/-/delete-tags/team/app?tag=1.3&tag=1.4-debug&tag=absent", "/team/app?choose=all",
  "/-/trash/team/app", "/-/history/team/app", "/-/admin/rules", "/-/admin/rules?repositories=**&tags=1.*",
  "/-/admin/jobs", "/-/admin/upstreams", "/-/webhooks", "/-/webhooks/ci", "/-/webhooks/ci?state=parked", "/-/api",
];

// All pages, in one language, colour scheme and size.
async function walk(browser, name, settings, shots = {}) {
  const window = await open(browser, name, settings);
  window.language = settings.locale.split("-")[0];
  await visit(window, "/-/sign-in");
  await signIn(window);
  for (const address of PAGES) await visit(window, address, shots[address]);
  await window.context.close();
}

// Search as you type, and what works without a script.
async function search(browser) {
  const window = await open(browser, "search", {});
  await signIn(window);
  const announcer = await window.page.locator("#announcer").elementHandle();
  await window.page.locator("#q").pressSequentially("worker", { delay: 20 });
  await window.page.locator("#results a.name", { hasText: "team/worker" }).waitFor();
  // Each letter may be a search of its own.
  await window.page.waitForURL(`${base}/?q=worker`);
  expect(await window.page.locator("#results a.name").count() === 1, "search: more than team/worker");
  // The live region is the one that the page was loaded with.
  expect(await announcer.evaluate((node) => node.isConnected && node.textContent) === "1 repository", "search: the count is not announced");
  await check(window, "search as you type");
  await window.context.close();

  const plain = await open(browser, "without scripts", { javaScriptEnabled: false });
  await signIn(plain);
  await plain.page.fill("#q", "worker");
  await plain.page.press("#q", "Enter");
  await plain.page.locator("#results a.name", { hasText: "team/worker" }).click();
  expect((await plain.page.locator("h1").textContent()).includes("team/worker"), "without scripts: no repository");
  await plain.context.close();
}

// Presses Tab until the focus is on an element that matches.
async function tabTo(page, selector) {
  for (let pressed = 0; pressed < 80; pressed += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
  }
  fail(`keyboard: ${selector} cannot be reached by Tab on ${page.url()}`);
}

// The way from the sign-in to a deleted and restored tag, without a pointer.
async function keyboard(browser) {
  const window = await open(browser, "keyboard", {});
  const { page } = window;
  await page.goto(`${base}/-/sign-in`);
  await page.keyboard.press("Tab");
  expect(await page.evaluate(() => document.activeElement.className === "skip"), "keyboard: the skip link is not first");
  await page.keyboard.press("Enter");
  expect(await page.evaluate(() => document.activeElement.id === "main"), "keyboard: the skip link does not skip");
  await tabTo(page, "#name");
  await page.keyboard.type(user);
  await tabTo(page, "#password");
  await page.keyboard.type(password);
  await page.keyboard.press("Enter");
  await page.waitForURL(base + "/");
  await page.keyboard.press("/");
  await page.keyboard.type("backup");
  await page.locator("#results a.name", { hasText: "infra/backup" }).waitFor();
  await page.waitForFunction(() => document.querySelectorAll("#results a.name").length === 1);
  await tabTo(page, 'a.name[href="/infra/backup"]');
  await page.keyboard.press("Enter");
  await page.waitForURL(`${base}/infra/backup`);
  await tabTo(page, 'a.name[href="/infra/backup:latest"]');
  await page.keyboard.press("Enter");
  await page.waitForURL(`${base}/infra/backup:latest`);
  await tabTo(page, "#tag");
  await page.keyboard.type("stable");
  await page.keyboard.press("Enter");
  await page.waitForURL(/infra\/backup:stable/);
  await check(window, "after a retag");
  await tabTo(page, 'a[href="/-/delete/infra/backup:stable"]');
  await page.keyboard.press("Enter");
  await page.waitForURL(/-\/delete/);
  await tabTo(page, "#confirmation");
  await page.keyboard.type("not the tag");
  await page.keyboard.press("Enter");
  await page.locator('[role="alert"]').waitFor();
  await check(window, "a refused deletion");
  await tabTo(page, "#confirmation");
  await page.keyboard.type("stable");
  await page.keyboard.press("Enter");
  await page.waitForURL(/infra\/backup\?done/);
  expect(await page.locator('a[href="/infra/backup:stable"]').count() === 0, "keyboard: the tag is still there");
  await severalTags(window);
  await tabTo(page, 'form[action="/-/sign-out"] button');
  await page.keyboard.press("Enter");
  await page.waitForURL(base + "/");
  const account = await page.goto(`${base}/-/account`);
  expect(account.url().includes("/-/sign-in"), "keyboard: still signed in");
  await window.context.close();
}

// Two tags are chosen, deleted and restored.
async function severalTags(window) {
  const { page } = window;
  await page.goto(`${base}/team/app`);
  for (const tag of ["1.3", "1.4-debug"]) {
    await tabTo(page, `input[name="tag"][value="${tag}"]`);
    await page.keyboard.press("Space");
  }
  await tabTo(page, "#delete-tags button");
  await page.keyboard.press("Enter");
  await page.waitForURL(/-\/delete-tags\/team\/app\?/);
  await check(window, "tags to delete");
  await tabTo(page, "#confirmation");
  await page.keyboard.type("team/app");
  await page.keyboard.press("Enter");
  await page.locator('[role="status"]').waitFor();
  await check(window, "deleted tags");
  await tabTo(page, 'form[action="/-/history/team/app"] button');
  await page.keyboard.press("Enter");
  await page.waitForURL(/team\/app\?done=undone-all/);
  for (const tag of ["1.3", "1.4-debug"]) {
    expect(await page.locator(`a[href="/team/app:${tag}"]`).count() === 1, `keyboard: ${tag} is not restored`);
  }
}

// A page of another origin, with a password that the browser keeps, and with tokens, as docker-registry-ui uses them.
async function crossOrigin(browser) {
  const server = http.createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>Another origin</title>");
  });
  await new Promise((resolve) => server.listen(Number(port), "127.0.0.1", resolve));
  const context = await browser.newContext({ httpCredentials: { username: user, password } });
  const page = await context.newPage();
  const run = (origin, script, ...values) => page.goto(origin).then(() => page.evaluate(script, [base, user, password, ...values]));
  const own = `http://127.0.0.1:${port}/`;
  const kept = await run(own, async ([base]) => {
    const answer = await fetch(`${base}/api/v1/users`, { credentials: "include" });
    return [answer.status, answer.headers.get("etag") !== null];
  });
  expect(kept.join() === "200,true", `another origin: with a kept password: ${kept}`);
  const tokens = await run(own, async ([base, user, password]) => {
    const refused = await fetch(`${base}/v2/_catalog`, { credentials: "omit" });
    const [, realm, service, scope] =
      /realm="([^"]+)",service="([^"]+)",scope="([^"]+)"/.exec(refused.headers.get("www-authenticate"));
    const token = async (scope) => {
      const query = new URLSearchParams({ service, scope });
      const headers = { authorization: `Basic ${btoa(`${user}:${password}`)}` };
      return { authorization: `Bearer ${(await (await fetch(`${realm}?${query}`, { headers })).json()).token}` };
    };
    const list = await fetch(`${base}/v2/_catalog?n=1`, { headers: await token(scope) });
    const headers = { accept: "application/vnd.oci.image.index.v1+json", ...await token("repository:team/app:pull,push,delete") };
    const tags = `${base}/v2/team/app/manifests`;
    const manifest = await fetch(`${tags}/1.4`, { headers });
    const digest = manifest.headers.get("docker-content-digest");
    const put = await fetch(`${tags}/moved`, {
      method: "PUT", headers: { ...headers, "content-type": manifest.headers.get("content-type") }, body: await manifest.text(),
    });
    const gone = await fetch(`${tags}/moved`, { method: "DELETE", headers });
    return [refused.status, list.status, list.headers.get("link") !== null, digest.startsWith("sha256:"), put.status, gone.status];
  });
  expect(tokens.join() === "401,200,true,true,201,202", `another origin: with tokens: ${tokens}`);
  // localhost is another origin than 127.0.0.1.
  const foreign = await run(`http://localhost:${port}/`, async ([base]) =>
    fetch(`${base}/api/v1/users`, { credentials: "include" }).then(() => "read", () => "refused"));
  expect(foreign === "refused", `another origin: one that is not admitted: ${foreign}`);
  await context.close();
  server.close();
}

(async () => {
  await seed(base, user, password);
  await people(base, user, password);
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
  try {
    await walk(browser, "English, light", { locale: "en-GB", colorScheme: "light" },
      { "/": "repositories", "/team/app": "repository", "/team/app:1.4": "image" });
    await walk(browser, "Chinese, dark", { locale: "zh-CN", colorScheme: "dark" },
      { "/team/app:1.4": "image-dark" });
    await walk(browser, "phone", { viewport: { width: 320, height: 640 }, locale: "en-GB" }, { "/team/app": "phone" });
    await search(browser);
    await keyboard(browser);
    await crossOrigin(browser);
  } finally {
    await browser.close();
  }
  console.log(`${checked} pages were checked, with ${failures.length} failures`);
  process.exitCode = failures.length ? 1 : 0;
})().catch((error) => {
  console.log(error);
  process.exitCode = 1;
});
