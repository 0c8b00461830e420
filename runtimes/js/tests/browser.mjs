/**
 * What a browser makes of bundles, for the tests in Python. Each line of stdin is a job as JSON, whose answer is a line of
 * stdout; the command line is the browser's path, the address that is served, and the browser's options.
 *
 * A job of the kind "runtime" is done by hamsa-runtime.js in a page of `page`: {page, bundle, device, images, clips, decode},
 * where `decode` is a file with image files of these `sizes` one after the other. One of the kind "page" opens a bundle's
 * page as people do: {bundle, width, scheme, file, camera: "allowed" or "refused", device, picture}. One of the kind "printed"
 * opens a page of somebody's own, whose last line of the console is "the end": {page}.
 */
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const LIMIT = 60_000; // milliseconds

/** In the browser. */
async function runtime({ bundle: url, device, images = [], clips = [], decode, sizes = [] }) {
  const hamsa = await import(new URL("hamsa-runtime.js", document.baseURI).href);
  const read = async (file) => new Uint8Array(await (await fetch(file)).arrayBuffer());
  const plain = ({ dtype, shape, data }) => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    let binary = "";
    for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return { dtype, shape, data: btoa(binary) };
  };
  const all = (arrays) => Object.fromEntries(Object.entries(arrays).map(([name, each]) => [name, plain(each)]));
  const tried = async (work) => {
    try {
      return await work();
    } catch (error) {
      return { kind: error.name, error: error.message };
    }
  };
  const pixels = async (file) => {
    const { width, height, data } = await hamsa.pixelsFromFile(file);
    return plain({ dtype: "uint8", shape: [height, width, 3], data });
  };
  const answer = { decoded: [] };
  const files = decode ? await read(decode) : undefined;
  let at = 0;
  for (const size of sizes) answer.decoded.push(await tried(() => pixels(files.slice(at, (at += size)))));
  if (!url) return answer;
  return tried(async () => {
    const bundle = await hamsa.loadBundle(url);
    const engine = await hamsa.Engine.open(bundle, { device });
    const { manifest } = bundle;
    const image = async (file) => {
      const found = await hamsa.pixelsFromFile(await read(file), manifest.preprocessing.channels);
      const { outputs } = await engine.runPixels(found);
      return { input: plain(hamsa.tensorFromPixels(found, manifest.preprocessing)), outputs: all(outputs) };
    };
    const clip = async (file) => (await engine.runClip(hamsa.clipFromWav(await read(file), manifest.audio))).map(({ outputs }) => all(outputs));
    answer.images = [];
    answer.clips = [];
    for (const file of images) answer.images.push(await tried(() => image(file)));
    for (const file of clips) answer.clips.push(await tried(() => clip(file)));
    answer.verdict = await hamsa.compareAgain(bundle, engine);
    answer.threads = engine.threads;
    await engine.close();
    return answer;
  });
}

async function opened({ bundle, width = 1200, scheme = "light", file, camera, device, picture }) {
  const permissions = camera === "allowed" ? ["camera"] : [];
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme, permissions });
  const page = await context.newPage();
  const faults = [];
  const elsewhere = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("request", (request) => /^https?:/.test(request.url()) && !request.url().startsWith(base) && elsewhere.push(request.url()));
  await page.goto(new URL(bundle, base).href);
  const settled = "#error:not([hidden]), #in-browser.good, #in-browser.bad";
  await page.waitForSelector(settled, { timeout: LIMIT });
  if (file) await page.setInputFiles("#file", file);
  if (camera) await page.click("#camera");
  if (file || camera) await page.waitForSelector("#result:not([hidden]), #error:not([hidden])", { timeout: LIMIT });
  if (device) await page.selectOption("#device", device);
  if (device) await page.waitForSelector(settled, { timeout: LIMIT });
  if (picture) await page.screenshot({ path: picture, fullPage: true });
  const answer = await page.evaluate(() => {
    const shown = (query) => [...document.querySelectorAll(query)].filter((each) => each.checkVisibility());
    const named = (each) => each.labels?.length || each.getAttribute("aria-label") || each.textContent.trim();
    return {
      text: document.querySelector("main").innerText,
      device: document.getElementById("device").value,
      overflow: document.documentElement.scrollWidth - innerWidth,
      background: getComputedStyle(document.body).backgroundColor,
      nameless: shown("button, input, select, summary, [role=img]").filter((each) => !named(each)).map((each) => each.id),
      small: shown("button, input, select").filter((each) => each.getBoundingClientRect().height < 44).map((each) => each.id),
    };
  });
  await page.keyboard.press("Tab");
  answer.focused = await page.evaluate(() => [document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]);
  await context.close();
  return { ...answer, faults, elsewhere };
}

async function inPage(job) {
  const page = await browser.newPage();
  await page.goto(new URL(job.page ?? "", base).href);
  const answer = await page.evaluate(runtime, job);
  await page.close();
  return answer;
}

async function printed({ page: path }) {
  const page = await browser.newPage();
  const lines = [];
  const ended = new Promise((end) => {
    page.on("pageerror", (error) => end(error.message));
    page.on("console", (message) => (message.text() === "the end" ? end() : lines.push(message.text())));
  });
  await page.goto(new URL(path, base).href);
  const fault = await Promise.race([ended, page.waitForTimeout(LIMIT).then(() => "it does not end")]);
  await page.close();
  return { lines, fault: fault ?? "" };
}

const KINDS = { page: opened, runtime: inPage, printed };
const [executablePath, base, ...args] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args });
try {
  for await (const line of createInterface({ input: process.stdin })) {
    const job = JSON.parse(line);
    process.stdout.write(`${JSON.stringify(await KINDS[job.kind](job))}\n`);
  }
} finally {
  await browser.close();
}
