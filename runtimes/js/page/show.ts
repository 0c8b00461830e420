/** What is found, put into the page; texts of files only ever as text. */
import { type Arrays, type Bundle, HamsaError, type Label, type Manifest, numbersOf, type Pixels, type Verdict } from "../src";

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;

function made(tag: string, text = "", fields: Record<string, string> = {}): HTMLElement {
  const found = document.createElement(tag);
  found.textContent = text;
  for (const [name, value] of Object.entries(fields)) found.setAttribute(name, value);
  return found;
}

const short = (value: number): string => (value === 0 ? "0" : value.toExponential(1).replace("e+", "e"));

/** A title, a verdict of one word or two, and sentences. */
function fill(card: HTMLElement, title: string, good: boolean | undefined, word: string, sentences: string[]): void {
  card.classList.toggle("good", good === true);
  card.classList.toggle("bad", good === false);
  const mark = good === undefined ? "" : good ? "✓ " : "✗ ";
  card.replaceChildren(made("h3", title), made("strong", mark + word), ...sentences.map((each) => made("p", each)));
}

export function showError(error: Error | undefined): void {
  const card = element("error");
  card.hidden = !error;
  if (!error) return card.replaceChildren();
  const { expected, cause, fix } = error instanceof HamsaError ? error.advice : {};
  const list = made("dl");
  for (const [name, text] of [["Expected", expected], ["Likely cause", cause], ["Try", fix]] as const) {
    if (text) list.append(made("dt", name), made("dd", text));
  }
  const found = error instanceof HamsaError ? error.found : `${error.name}: ${error.message}`;
  card.replaceChildren(made("strong", found.charAt(0).toUpperCase() + found.slice(1)), list);
  card.scrollIntoView({ block: "nearest" }); // on a phone it is above the controls
}

/** What the manifest says: measured elsewhere. */
export function showExport({ parity }: Manifest): void {
  const card = element("at-export");
  if (!parity) return fill(card, "When it was exported", undefined, "Not compared", ["This bundle was never compared with its model."]);
  const errors = Object.values(parity.metrics).flatMap((each) => each["max_relative_error"] ?? []);
  const worst = errors.length ? ` Largest relative error ${short(Math.max(...errors))}, allowed ${short(parity.thresholds["max_relative_error"] ?? 0)}.` : "";
  fill(card, "When it was exported", parity.passed, parity.passed ? "Passed" : "Failed", [
    `Compared with ${parity.reference} on ${parity.images} inputs.${worst}`,
    "By ONNX Runtime on the processor that made the bundle: not in your browser.",
    ...(parity.note ? [parity.note] : []),
  ]);
}

export function showComparing(place: string): void {
  fill(element("in-browser"), "In your browser", undefined, "Comparing ...", [`On ${place}; the first run of a graphics card takes longer.`]);
}

export function showComparison(verdict: Verdict | undefined, place: string): void {
  const card = element("in-browser");
  if (!verdict) return fill(card, "In your browser", undefined, "Not compared", ["The bundle has no inputs to compare with."]);
  const { relativeError, equal, allowed, inputs, calls, passed } = verdict;
  const what = calls > 1 ? `One stream of ${calls} calls` : inputs === 1 ? "One input" : `${inputs} of these inputs`;
  const exact = equal !== undefined ? ` Equal whole numbers ${(100 * equal).toFixed(2)} %, allowed ${(100 * allowed.equal).toFixed(2)} %.` : "";
  fill(card, "In your browser", passed, passed ? "The same" : "Different", [
    `${what} again, just now: largest relative error ${short(relativeError)}, allowed ${short(allowed.relativeError)}.${exact}`,
    `By onnxruntime-web on ${place}.`,
  ]);
}

export function showPixels({ width, height, channels, data }: Pixels): void {
  const canvas = element<HTMLCanvasElement>("seen");
  [canvas.width, canvas.height, canvas.hidden] = [width, height, false];
  const rgba = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) rgba.data[4 * i + c] = data[i * channels + (channels === 3 ? c : 0)]!;
    rgba.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d")!.putImageData(rgba, 0, 0);
}

export function showLabels(labels: Label[] | undefined): void {
  const table = element<HTMLTableElement>("labels");
  table.hidden = !labels;
  const rows = (labels ?? []).map(({ name, probability }) => {
    const row = made("tr");
    const cell = made("td", "", { class: "number" });
    cell.append(made("meter", "", { min: "0", max: "1", value: `${probability}`, "aria-hidden": "true" }), made("span", `${(100 * probability).toFixed(1)} %`));
    row.append(made("th", name, { scope: "row" }), cell);
    return row;
  });
  table.tBodies[0]!.replaceChildren(...rows);
}

export function showOutputs(outputs: Arrays | undefined): void {
  const table = element<HTMLTableElement>("outputs");
  table.hidden = !outputs;
  const rows = Object.entries(outputs ?? {}).map(([name, tensor]) => {
    let [low, high] = [Infinity, -Infinity];
    for (const value of Array.from(numbersOf(tensor))) [low, high] = [Math.min(low, value), Math.max(high, value)];
    const row = made("tr");
    row.append(made("th", name, { scope: "row" }), made("td", tensor.shape.join(" × ")), made("td", `${low.toPrecision(3)} to ${high.toPrecision(3)}`, { class: "number" }));
    return row;
  });
  table.tBodies[0]!.replaceChildren(...rows);
}

export function factsOf({ manifest }: Bundle): void {
  const { model, inputs, preprocessing, audio, files, versions } = manifest;
  const bytes = Object.values(files).reduce((sum, each) => sum + each.bytes, 0);
  const facts: [string, string][] = [
    ["Model", `${model.reference}, ${model.parameters.toLocaleString("en")} parameters`],
    ["Weights", model.weights ? `${model.weights.file}, sha256 ${model.weights.sha256.slice(0, 12)}` : "as the model makes them"],
    ["Precision", manifest.precision],
    ["Input", inputs.map(({ name, dtype, shape }) => `${name}: ${dtype} [${shape.join(", ")}]`).join("; ")],
    ["Output", manifest.outputs.map(({ name, dtype, shape }) => `${name}: ${dtype} [${shape.join(", ")}]`).join("; ")],
    ["Files", `${Object.keys(files).length}, ${(bytes / 1e6).toFixed(1)} MB, with the page and its engine`],
    ["Made by", Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ")],
  ];
  if (preprocessing) facts.splice(4, 0, ["Pixels", `${preprocessing.size[1]} × ${preprocessing.size[0]}, ${preprocessing.resize}, ${preprocessing.channels === 1 ? "grey" : "colours"}`]);
  if (audio) facts.splice(4, 0, ["Sound", `${audio.sample_rate} Hz, ${audio.channels} channel${audio.channels === 1 ? "" : "s"}`]);
  element("facts").replaceChildren(...facts.flatMap(([name, text]) => [made("dt", name), made("dd", text)]));
}
