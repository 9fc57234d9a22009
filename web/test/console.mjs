// Opens the console of a running instance in a headless Chromium, as a person would: overview, an incident, a narrow dark
// screen. Fails on a missing text, an error in the browser's log (the Content-Security-Policy reports there), a page
// wider than the screen, or a server that is asked for anything but this console.
//
//   node test/console.mjs http://127.0.0.1:PORT [OUTPUT-DIR]
//
// The instance must have at least one closed incident about a canary, such as `homeostat demo --keep` leaves behind.
// `CHROMIUM` names the browser's program when it is none of the usual ones. Nothing is changed on the instance.
import assert from "node:assert/strict";
import { accessSync, constants, mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const PATIENCE_MS = 30_000;
/** Samples get their names from a program without optimisation, on a machine that others use: half a minute is usual. */
const EXPLAINED_MS = 120_000;
const [address, out = "test-output"] = process.argv.slice(2);
if (!address) {
  console.error("usage: node test/console.mjs http://127.0.0.1:PORT [OUTPUT-DIR]");
  process.exit(2);
}
const origin = new URL(address).origin;
mkdirSync(out, { recursive: true });

function browserProgram() {
  const usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const found = (process.env.CHROMIUM ? [process.env.CHROMIUM] : usual).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (!found) throw new Error("no chromium: install it, or set CHROMIUM to its program");
  return found;
}

async function answer(path) {
  const response = await fetch(origin + path);
  assert.equal(response.status, 200, `${path} answers 200`);
  return response.json();
}

/** Waits until a canary's incident is closed, recorded and explained; the newest one. */
async function closedIncident() {
  const deadline = Date.now() + EXPLAINED_MS;
  while (Date.now() < deadline) {
    const { incidents } = await answer("/homeostat/v1/incidents?limit=100");
    const found = incidents.find((incident) => incident.stage === "closed" && incident.subject.about === "canary" && incident.explanation?.hypotheses.length > 0);
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  throw new Error("the instance has no closed incident about a canary with a likely cause");
}

const complaints = [];

async function open(browser, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (["http:", "https:"].includes(url.protocol) && url.origin !== origin) complaints.push(`asked ${url.origin} for something`);
  });
  return page;
}

async function holds(page, name, texts) {
  for (const text of texts) await page.getByText(text, { exact: false }).first().waitFor({ state: "visible" });
  const { wide, screen } = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth, screen: innerWidth }));
  assert.ok(wide <= screen, `${name} is ${wide} px wide on a screen of ${screen}`);
  await page.screenshot({ path: join(out, `${name}.png`), fullPage: true });
  console.log(`${name}: ${texts.length} texts found, ${wide} px wide`);
}

/** No label of the timeline stands on another one, and none is cut off. */
async function labelsAreApart(page, name) {
  const boxes = await page.$$eval("svg text.label", (texts) =>
    texts.map((text) => {
      const svg = text.ownerSVGElement.getBoundingClientRect();
      const { left, right, top, bottom } = text.getBoundingClientRect();
      return { text: text.textContent, left, right, top: top + 2, bottom: bottom - 2, inside: left >= svg.left - 1 && right <= svg.right + 1 };
    }),
  );
  assert.ok(boxes.length >= 4, `${name} has labels`);
  for (const [index, a] of boxes.entries()) {
    assert.ok(a.inside, `${name}: label "${a.text}" is cut off`);
    for (const b of boxes.slice(index + 1)) {
      const apart = a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
      assert.ok(apart, `${name}: labels "${a.text}" and "${b.text}" overlap`);
    }
  }
}

const incident = await closedIncident();
const { services, objectives } = await answer("/homeostat/v1/view");
const browser = await chromium.launch({
  executablePath: browserProgram(),
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  const page = await open(browser, { viewport: { width: 1280, height: 1000 }, colorScheme: "light" });
  await page.goto(`${origin}/`);
  await page.locator("canvas").first().waitFor();
  await page.locator("header .badge", { hasText: "live" }).waitFor();
  await holds(page, "overview", [
    ...services.map((service) => service.name),
    ...objectives.map((view) => view.objective.display_name),
    `INC-${incident.id}`,
    "Stop automatic actions",
    "Who asked for what",
  ]);

  await page.locator("table a", { hasText: new RegExp(`^INC-${incident.id}$`) }).click();
  const cause = incident.explanation.hypotheses[0];
  const story = ["first bad response", "judged", "acted", "requests harmed", "Likely cause", cause.title, cause.next_check, "What was", "Evidence", "Changes", "Example requests", incident.title];
  await page.locator("svg text.label").first().waitFor();
  await holds(page, "incident", story);
  await labelsAreApart(page, "incident");
  assert.equal(await page.title(), `INC-${incident.id} — Homeostat`);

  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
  assert.equal(file.suggestedFilename(), `INC-${incident.id}.json`);

  // An incident that closes while it is looked at has a longer recording by then.
  const watching = await open(browser, { viewport: { width: 1280, height: 1000 } });
  let closes = false;
  await watching.route(`**/homeostat/v1/incidents/${incident.id}`, async (route) => {
    const response = await route.fetch();
    const body = await response.json();
    if (!closes) Object.assign(body.incident, { stage: "acted", explanation: null });
    await route.fulfill({ response, json: body });
  });
  await watching.goto(`${origin}/#/incident/${incident.id}`);
  await watching.locator("svg text.label").first().waitFor();
  const readAgain = watching.waitForRequest((request) => request.url().endsWith(`/incidents/${incident.id}/black-box`));
  closes = true;
  await readAgain;
  console.log("the recording is read again when the incident closes");
  await watching.close();

  // With the keyboard alone: the switch for all automatic actions asks before it does anything, and Escape takes it back.
  const stop = page.getByRole("button", { name: "Stop automatic actions" });
  await stop.focus();
  await page.keyboard.press("Enter");
  await page.getByText("nothing is moved without a person").waitFor();
  await page.keyboard.press("Escape");
  await stop.waitFor();

  const narrow = await open(browser, { viewport: { width: 420, height: 900 }, colorScheme: "dark" });
  await narrow.goto(`${origin}/#/incident/${incident.id}`);
  await narrow.locator("svg text.label").first().waitFor();
  await holds(narrow, "incident-narrow-dark", story);
  await labelsAreApart(narrow, "incident-narrow-dark");
  await narrow.goto(`${origin}/#/`);
  await holds(narrow, "overview-narrow-dark", [`INC-${incident.id}`, "Objectives"]);

  assert.deepEqual(complaints, [], "the browser's log is free of errors");

  // Only now, because the browser itself logs the 404 as an error: what is not there is said.
  await narrow.goto(`${origin}/#/incident/99999999`);
  await narrow.getByRole("alert").waitFor();
  console.log(`the console is well; screenshots in ${out}`);
} finally {
  await browser.close();
}
