/** A bundle, loaded into onnxruntime-web and ready to run. */
import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-web";
import type { Bundle } from "./bundle";
import { BuildError, InputError, MissingError } from "./errors";
import { type Manifest, MODEL } from "./manifest";
import type { Pixels } from "./pixels";
import { blocksOf, tensorFromPixels } from "./preprocess";
import { type Dtype, numbersOf, type Tensor, tensorFromBytes, zeros } from "./tensors";
import type { Clip } from "./wav";

type Ort = typeof import("onnxruntime-web");

export type Device = "wasm" | "webgpu";
export type Arrays = Record<string, Tensor>;

export interface Result {
  outputs: Arrays;
  /** Of the inference alone: neither decoding nor resizing. */
  milliseconds: number;
}

export interface Label {
  name: string;
  probability: number;
}

export interface Options {
  /** "wasm", on the processor, by default. */
  device?: Device;
  /** Of the processor. More than one needs a page that is cross-origin isolated; by default up to four there. */
  threads?: number;
}

const MOST_THREADS = 4;
const WASM = 'WebAssembly, which is the device "wasm"';

/**
 * Runs one bundle. What the model keeps between calls (`manifest.states`) is kept here; `reset` starts anew. Calls wait for
 * each other.
 */
export class Engine {
  private turn: Promise<unknown> = Promise.resolve();
  private states: Arrays;

  private constructor(
    readonly manifest: Manifest,
    readonly device: Device,
    readonly threads: number,
    private readonly ort: Ort,
    private readonly session: InferenceSession,
    private readonly initial: Arrays,
  ) {
    this.states = initial;
  }

  /**
   * @throws MissingError: no WebGPU, or no threads, in this browser or for this page. Nothing else is used instead.
   * @throws BuildError: onnxruntime-web refuses the model.
   */
  static async open(bundle: Bundle, { device = "wasm", threads = defaultThreads() }: Options = {}): Promise<Engine> {
    if (device === "webgpu") await requireWebGpu();
    requireThreads(threads);
    const ort: Ort = device === "webgpu" ? await import("onnxruntime-web/webgpu") : await import("onnxruntime-web/wasm");
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = "error";
    const externalData = [...bundle.model].filter(([name]) => name !== MODEL).map(([path, data]) => ({ path, data }));
    let session: InferenceSession;
    try {
      session = await ort.InferenceSession.create(bundle.model.get(MODEL)!, { executionProviders: [device], externalData });
    } catch (error) {
      throw new BuildError(`onnxruntime-web cannot load this model on ${device}: ${(error as Error).message}`, {
        cause: "an operator or type that this version or device lacks, or too little memory",
        fix: device === "webgpu" ? WASM : "a newer onnxruntime-web",
      });
    }
    return new Engine(bundle.manifest, device, threads, ort, session, initialStates(bundle));
  }

  /**
   * @param inputs the graph's inputs by name, as the manifest has them.
   * @throws InputError: another name, type or shape.
   */
  run(inputs: Arrays): Promise<Result> {
    return this.queued(() => this.infer(inputs));
  }

  /** One image, of any size. */
  runPixels(pixels: Pixels): Promise<Result> {
    const how = this.manifest.preprocessing;
    if (!how) throw new InputError("an image for a model that takes none", { expected: `${this.manifest.inputs[0]?.name}` });
    return this.run({ [this.manifest.inputs[0]!.name]: tensorFromPixels(pixels, how) });
  }

  /** One clip, as a stream of its own: a result for each of its blocks. */
  async runClip(clip: Clip): Promise<Result[]> {
    const blocks = blocksOf(clip, this.manifest);
    return this.queued(async () => {
      this.states = this.initial;
      const results: Result[] = [];
      for (const block of blocks) results.push(await this.infer({ [this.manifest.audio!.input]: block }));
      return results;
    });
  }

  /** Starts a new stream. */
  reset(): Promise<void> {
    return this.queued(async () => {
      this.states = this.initial;
    });
  }

  /** Frees the memory. */
  close(): Promise<void> {
    return this.queued(() => this.session.release());
  }

  private queued<T>(work: () => Promise<T>): Promise<T> {
    const done = this.turn.then(work);
    this.turn = done.catch(() => undefined);
    return done;
  }

  private async infer(inputs: Arrays): Promise<Result> {
    checkInputs(inputs, this.manifest);
    const given = Object.entries({ ...this.states, ...inputs });
    const feeds = Object.fromEntries(given.map(([name, each]) => [name, this.ortTensor(each)]));
    const start = performance.now();
    const found = await this.session.run(feeds);
    const milliseconds = performance.now() - start;
    const states = this.manifest.states ?? [];
    this.states = Object.fromEntries(states.map(({ input, output }) => [input, tensorFrom(found, output)]));
    const outputs = Object.fromEntries(this.manifest.outputs.map(({ name }) => [name, tensorFrom(found, name)]));
    return { outputs, milliseconds };
  }

  private ortTensor({ dtype, data, shape }: Tensor): OrtTensor {
    return new this.ort.Tensor(dtype as "float32", data as Float32Array, shape);
  }
}

/** How many the processor has, four at most, where the page may have threads. */
export function defaultThreads(): number {
  return globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
}

function requireThreads(threads: number): void {
  if (threads === 1 || (threads > 1 && globalThis.crossOriginIsolated)) return;
  throw new MissingError(`${threads} threads for a page that is not cross-origin isolated`, {
    expected: "one",
    fix: "serve it with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp",
  });
}

/** @throws MissingError, with the reason. */
export async function requireWebGpu(): Promise<void> {
  const gpu = (globalThis.navigator as { gpu?: { requestAdapter(): Promise<unknown> } } | undefined)?.gpu;
  const expected = "a browser and a graphics driver with WebGPU";
  if (!gpu) {
    const cause = globalThis.isSecureContext === false ? "a page that is neither https nor localhost" : "a browser without it, or one where it is switched off";
    throw new MissingError("WebGPU is not in this browser", { expected, cause, fix: WASM });
  }
  if (!(await gpu.requestAdapter().catch(() => null))) {
    const cause = "no graphics card, or one whose driver the browser does not trust";
    throw new MissingError("WebGPU finds no graphics card", { expected, cause, fix: WASM });
  }
}

function initialStates({ manifest, model }: Bundle): Arrays {
  const states = (manifest.states ?? []).map(({ dtype, shape, input, stored }, i) => {
    const bytes = stored ? model.get(`state_${i}.bin`) : undefined;
    return [input, bytes ? tensorFromBytes(dtype, shape, bytes) : zeros(dtype, shape)];
  });
  return Object.fromEntries(states) as Arrays;
}

function tensorFrom(found: InferenceSession.OnnxValueMapType, name: string): Tensor {
  const { type, dims, data } = found[name] as OrtTensor;
  const { buffer, byteOffset, length } = data as Tensor["data"];
  // Where the browser has arrays of float16, that is what it gives: here they are bits everywhere.
  const values = type === "float16" ? new Uint16Array(buffer, byteOffset, length) : data;
  return { dtype: type as Dtype, shape: [...dims], data: values as Tensor["data"] };
}

function checkInputs(inputs: Arrays, manifest: Manifest): void {
  const names = manifest.inputs.map(({ name }) => name);
  const unknown = Object.keys(inputs).find((name) => !names.includes(name));
  if (unknown) throw new InputError(`unknown input "${unknown}"`, { expected: names.join(", ") });
  for (const { name, dtype, shape } of manifest.inputs) {
    const found = inputs[name];
    const fits =
      found?.dtype === dtype &&
      found.shape.length === shape.length &&
      shape.every((size, i) => (typeof size === "string" ? found.shape[i]! > 0 : size === found.shape[i]));
    if (fits) continue;
    throw new InputError(`the input "${name}" is ${found ? `${found.dtype} (${found.shape.join(", ")})` : "missing"}`, {
      expected: `${dtype} (${shape.join(", ")})`,
      ...(shape[0] !== "batch" && Number(shape[0]) > 1 && { fix: "export with a batch that varies, or of 1" }),
    });
  }
}

/**
 * The most probable labels, best first, with their softmax: of the output "logits", or of the only one. Undefined where that
 * is not one number for each of several classes.
 */
export function labelsOf(outputs: Arrays, manifest: Manifest, top = 5): Label[] | undefined {
  const names = Object.keys(outputs);
  const logits = outputs["logits"] ?? (names.length === 1 ? outputs[names[0]!] : undefined);
  const classes = logits?.shape[1] ?? 0;
  const labels = manifest.labels ?? Array.from({ length: classes }, (_, i) => `${i}`);
  if (!logits || logits.shape.length !== 2 || logits.shape[0] !== 1 || classes < 2 || labels.length !== classes) return undefined;
  const values = Array.from(numbersOf(logits));
  const largest = values.reduce((a, b) => Math.max(a, b));
  const powers = values.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((a, b) => a + b);
  const found = labels.map((name, i) => ({ name, probability: powers[i]! / sum }));
  return found.sort((a, b) => b.probability - a.probability).slice(0, top);
}
