// Uses docker-registry-ui as a page of another origin: node registry_ui.cjs BASE USER PASSWORD PORT DIST
//
// DIST is the directory `dist` of docker-registry-ui, which no package registry has. The registry at BASE is new, has the
// administrator USER, admits pages of http://127.0.0.1:PORT, and asks for a password, which the browser keeps:
//
//   git clone --branch 2.6.0 --depth 1 https://github.com/Joxit/docker-registry-ui /tmp/ui
//   printf '[web]\ncors_origins = ["http://127.0.0.1:5001"]\n[auth]\nchallenge = "basic"\n' >/tmp/ui.toml
//   WHARFINGER_ADMIN_PASSWORD=a-good-password wharfinger serve --config /tmp/ui.toml --data /tmp/ui-data --admin root &
//   export NODE_PATH=~/.cache/wharfinger/tools/playwright-1.65.1/node_modules
//   node tests/browser/registry_ui.cjs http://127.0.0.1:5000 root a-good-password 5001 /tmp/ui/dist
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { chromium } = require("playwright-core");
const { seed } = require("./seed.cjs");

const [base, user, password, port, dist] = process.argv.slice(2);
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

// The settings that its container takes from the environment.
const SETTINGS = {
  REGISTRY_URL: base, SINGLE_REGISTRY: "true", REGISTRY_SECURED: "true", DELETE_IMAGES: "true",
  SHOW_CONTENT_DIGEST: "true", SHOW_CATALOG_NB_TAGS: "true", CATALOG_DEFAULT_EXPANDED: "true", TAGLIST_PAGE_SIZE: "100",
};

function serve() {
  const server = http.createServer((request, response) => {
    const name = path.normalize(new URL(request.url, base).pathname);
    const file = path.join(dist, name === "/" ? "index.html" : name);
    if (!fs.existsSync(file)) return response.writeHead(404).end();
    response.setHeader("content-type", TYPES[path.extname(file)] ?? "application/octet-stream");
    const content = fs.readFileSync(file);
    if (!file.endsWith("index.html")) return response.end(content);
    return response.end(content.toString().replace(/\$\{(\w+)\}/g, (_, key) => SETTINGS[key] ?? ""));
  });
  return new Promise((resolve) => server.listen(Number(port), "127.0.0.1", () => resolve(server)));
}

async function main(page) {
  const answers = [];
  page.on("response", (response) => {
    if (response.url().startsWith(base)) answers.push(`${response.request().method()} ${response.status()} ${response.url()}`);
  });
  page.on("pageerror", (error) => answers.push(`error: ${error.message}`));
  page.on("console", (message) => answers.push(`${message.type()}: ${message.text()}`));
  page.on("dialog", (dialog) => dialog.accept());
  try {
    await page.goto(`http://127.0.0.1:${port}/`);
    const image = (name) => page.locator("catalog-element", { hasText: name }).last();
    for (const name of ["infra/backup", "team/app", "team/worker"]) await image(name).waitFor();
    await image("team/app").locator("material-card").click();
    const row = (tag) => page.locator("tr", { has: page.locator("image-tag", { hasText: new RegExp(`^\\s*${tag}\\s*$`) }) });
    for (const tag of ["1.3", "1.4", "1.4-debug"]) await row(tag).waitFor();
    // It reads the platforms of an index from the manifests that the index lists.
    await row("1.4").getByText("arm64").first().waitFor();
    const deleted = page.waitForResponse((response) => response.request().method() === "DELETE");
    await row("1.4-debug").locator("remove-image material-button").click();
    await page.locator(".material-popup-action material-button", { hasText: "Delete" }).click();
    const response = await deleted;
    if (response.status() !== 202) throw new Error(`the deletion was answered with ${response.status()}`);
    const tags = await (await fetch(`${base}/v2/team/app/tags/list`, {
      headers: { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` },
    })).json();
    if (tags.tags.includes("1.4-debug") || !tags.tags.includes("1.4")) throw new Error(`left: ${tags.tags}`);
  } catch (error) {
    console.log(answers.slice(-30).join("\n"), await page.textContent("body"));
    throw error;
  }
}

(async () => {
  await seed(base, user, password);
  const server = await serve();
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
  try {
    const context = await browser.newContext({ httpCredentials: { username: user, password } });
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    await main(page);
  } finally {
    await browser.close();
    server.close();
  }
  console.log("docker-registry-ui lists, shows and deletes images");
})().catch((error) => {
  console.log(error);
  process.exitCode = 1;
});
