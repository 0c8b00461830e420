/** The page of a bundle: the parity verdict, the same comparison made here, and the model to try. */
import {
  type Bundle,
  clipFromWav,
  compareAgain,
  type Device,
  Engine,
  HamsaError,
  labelsOf,
  loadBundle,
  type Manifest,
  type Pixels,
  pixelsFromFile,
  pixelsFromSource,
  resized,
  type Result,
  withChannels,
} from "../src";
import { factsOf, showComparing, showComparison, showError, showExport, showLabels, showOutputs, showPixels } from "./show";

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const [device, file, camera] = [element<HTMLSelectElement>("device"), element<HTMLInputElement>("file"), element<HTMLButtonElement>("camera")];
const [video, sound, spoken] = [element<HTMLVideoElement>("video"), element<HTMLAudioElement>("sound"), element("spoken")];
const NAMES: Record<Device, string> = { wasm: "WebAssembly", webgpu: "WebGPU" };
const SPOKEN_EVERY = 3000; // milliseconds, of a camera's classes

let bundle: Bundle;
let engine: Engine;
let frames: MediaStream | undefined;
/** Shows again, on another device, what was shown last. */
let again: () => Promise<void> = async () => undefined;

function say(text: string): void {
  element("status").textContent = text;
  element("status").hidden = !text;
}

/** Shows an error of any kind instead of the work's result. */
async function attempt(work: () => Promise<void>): Promise<void> {
  showError(undefined);
  try {
    await work();
  } catch (error) {
    say("");
    showError(error as Error);
    if (!(error instanceof HamsaError)) console.error(error);
  }
}

async function start(): Promise<void> {
  bundle = await loadBundle(new URL("./", location.href));
  const { manifest } = bundle;
  document.title = `${manifest.name}: hamsa bundle`;
  element("name").textContent = manifest.name;
  element("about").textContent = `${manifest.model.reference}, ${manifest.model.parameters.toLocaleString("en")} parameters, ${manifest.precision}`;
  factsOf(bundle);
  showExport(manifest);
  offer(manifest);
  for (const id of ["verdict", "try", "details"]) element(id).hidden = false;
  await open("wasm");
}

/** The controls for what the model takes. */
function offer(manifest: Manifest): void {
  const { preprocessing, audio } = manifest;
  element("file-field").hidden = !preprocessing && !audio;
  element("camera-field").hidden = !preprocessing;
  element("file-label").textContent = audio ? "Sound" : "Image";
  file.accept = audio ? ".wav,audio/wav" : "image/png,image/jpeg,image/webp,image/bmp";
  element("file-note").textContent = noteOf(manifest);
}

function noteOf({ preprocessing, audio }: Manifest): string {
  if (preprocessing) return "PNG, JPEG, WebP or BMP. The picture stays on this machine.";
  if (!audio) return "This model takes arrays, which a page has no control for: call it with hamsa-runtime.js.";
  return `A WAV file of ${audio.sample_rate} Hz, ${audio.channels === 1 ? "mono" : `${audio.channels} channels`}. The sound stays on this machine.`;
}

async function open(wanted: Device): Promise<void> {
  say(`Loading the model on ${NAMES[wanted]} ...`);
  const before = engine as Engine | undefined;
  engine = await Engine.open(bundle, { device: wanted });
  await before?.close(); // a camera goes on meanwhile, on the new one
  const threads = wanted === "wasm" ? `, ${engine.threads === 1 ? "one thread" : `${engine.threads} threads`}` : "";
  const place = `${NAMES[wanted]}${threads}`;
  element("device-note").textContent =
    wanted === "webgpu" ? `Running on ${place}; operators that it lacks run on the processor.` : `Running on ${place}.`;
  say("");
  showComparing(place);
  showComparison(await compareAgain(bundle, engine), place);
}

/** A device that is not there leaves the one that is: what runs is said again. */
async function choose(): Promise<void> {
  const before = engine.device;
  try {
    await open(device.value as Device);
    await again();
  } catch (error) {
    device.value = before;
    throw error;
  }
}

async function readFile(): Promise<void> {
  const chosen = file.files?.[0];
  if (!chosen) return;
  stopCamera();
  element("result").hidden = true;
  again = async () => undefined;
  const data = new Uint8Array(await chosen.arrayBuffer());
  const { preprocessing, audio } = bundle.manifest;
  if (preprocessing) {
    const pixels = await pixelsFromFile(data, preprocessing.channels);
    again = () => showPicture(pixels);
  } else if (audio) {
    const clip = clipFromWav(data, audio);
    again = async () => showClip(await engine.runClip(clip), chosen);
  }
  await again();
}

async function showPicture(pixels: Pixels, isFrame = false, speaks = true): Promise<void> {
  const how = bundle.manifest.preprocessing!;
  const result = await engine.runPixels(pixels);
  if (!isFrame) result.milliseconds = await timed(pixels);
  showPixels(resized(withChannels(pixels, how.channels), how));
  show(result, speaks);
}

/** The median of some more runs: the first one of a size is slower. */
async function timed(pixels: Pixels): Promise<number> {
  const found: number[] = [];
  const end = performance.now() + 500;
  while (!found.length || (found.length < 9 && performance.now() < end)) found.push((await engine.runPixels(pixels)).milliseconds);
  return found.sort((a, b) => a - b)[found.length >> 1]!;
}

async function showClip(results: Result[], chosen: File): Promise<void> {
  URL.revokeObjectURL(sound.src);
  sound.src = URL.createObjectURL(chosen);
  sound.hidden = false;
  const milliseconds = results.reduce((sum, each) => sum + each.milliseconds, 0);
  show({ outputs: results.at(-1)!.outputs, milliseconds }, true, results.length);
}

function show({ outputs, milliseconds }: Result, speaks: boolean, calls = 1): void {
  // The only output of a filter is as long as one of classes: they are what is called so, or has names.
  const hasClasses = "logits" in outputs || bundle.manifest.labels;
  const labels = hasClasses ? labelsOf(outputs, bundle.manifest) : undefined;
  showLabels(labels);
  showOutputs(labels ? undefined : outputs);
  const rate = calls > 1 ? `${milliseconds.toFixed(1)} ms in ${calls} calls` : `${milliseconds.toFixed(1)} ms`;
  element("latency").textContent = `${rate} on ${NAMES[engine.device]}, without decoding and resizing.`;
  element("result").hidden = false;
  const best = labels?.[0];
  if (speaks) spoken.textContent = best ? `${best.name}, ${(100 * best.probability).toFixed(1)} %` : `Done in ${rate}`;
}

async function toggleCamera(): Promise<void> {
  if (frames) return stopCamera();
  if (!navigator.mediaDevices) throw new HamsaError("No camera for this page", { expected: "a page from https:// or from localhost" });
  try {
    frames = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    const { name, message } = error as Error;
    const [cause, fix] =
      name === "NotAllowedError"
        ? ["its use was not allowed", "allow it in the browser's settings, or choose a picture"]
        : ["no camera is connected, or another program has it", "connect one, or choose a picture"];
    throw new HamsaError(`No camera (${message})`, { expected: "a camera that this page may use", cause, fix });
  }
  video.srcObject = frames;
  video.hidden = false;
  await video.play();
  camera.textContent = "Stop camera";
  camera.setAttribute("aria-pressed", "true");
  void attempt(watch);
}

/** One frame after the other, as fast as the model is. */
async function watch(): Promise<void> {
  const mine = frames;
  for (let last = -SPOKEN_EVERY; frames === mine && mine; ) {
    await new Promise(requestAnimationFrame);
    if (!video.videoWidth || frames !== mine) continue;
    const speaks = performance.now() - last > SPOKEN_EVERY;
    try {
      await showPicture(pixelsFromSource(video), true, speaks);
    } catch (error) {
      stopCamera();
      throw error;
    }
    if (speaks) last = performance.now();
  }
}

function stopCamera(): void {
  for (const track of frames?.getTracks() ?? []) track.stop();
  frames = undefined;
  video.srcObject = null;
  video.hidden = true;
  camera.textContent = "Start camera";
  camera.setAttribute("aria-pressed", "false");
}

device.addEventListener("change", () => void attempt(choose));
file.addEventListener("change", () => void attempt(readFile));
camera.addEventListener("click", () => void attempt(toggleCamera));
void attempt(start);
