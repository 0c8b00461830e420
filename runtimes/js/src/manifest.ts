/**
 * manifest.json: what a bundle holds, what goes in and out, and the proof that it is right. What each key may hold is said
 * in manifest.schema.json, which the other runtimes read as well; here are the types of what this one uses.
 */
import document from "../../python/hamsa_runtime/manifest.schema.json";
import { InputError } from "./errors";
import { type Node, reject, Schema } from "./schema";
import { type Dtype, bytesOf } from "./tensors";

export interface FileEntry {
  sha256: string;
  bytes: number;
}

export interface InputSpec {
  name: string;
  dtype: Dtype;
  shape: (number | string)[];
  layout: "NHWC" | "NCHW" | null;
}

export interface OutputSpec {
  name: string;
  dtype: Dtype;
  shape: (number | string)[];
}

/** What the model keeps from one call to the next. */
export interface State {
  name: string;
  dtype: Dtype;
  shape: number[];
  input: string;
  output: string;
  stored: boolean;
}

/** How a decoded 8-bit image becomes the input; see `preprocess.ts`. */
export interface Preprocessing {
  size: [number, number];
  channels: 1 | 3;
  resize: "bicubic" | "bilinear";
  crop_fraction: number;
  mean: number[];
  std: number[];
  normalise: "graph" | "runtime";
  fit?: "cover" | "stretch";
}

/** Which input takes clips, and of what kind: float32 samples in [-1, 1]. */
export interface Audio {
  input: string;
  sample_rate: number;
  channels: number;
}

export interface Parity {
  reference: string;
  images: number;
  metrics: Record<string, Record<string, number>>;
  thresholds: Record<string, number>;
  passed: boolean;
  note?: string;
}

export interface Manifest {
  schema: number;
  name: string;
  model: { reference: string; parameters: number; weights: { file: string; sha256: string } | null };
  inputs: InputSpec[];
  outputs: OutputSpec[];
  preprocessing: Preprocessing | null;
  labels: string[] | null;
  target: string;
  precision: string;
  files: Record<string, FileEntry>;
  versions: Record<string, string>;
  parity: Parity | null;
  states?: State[];
  audio?: Audio | null;
}

export const MANIFEST = "manifest.json";
export const SIGNATURE = "manifest.sig";
export const MODEL = "model.onnx";
export const MOST_BYTES = 4 << 20; // of a manifest

const SCHEMA = new Schema(document as Node);
const VERSION = document.properties.schema.enum[0] as number;

/**
 * Checks the bytes of a manifest.
 * @throws InputError saying what was found where, and what was expected.
 */
export function manifestFromJson(data: Uint8Array): Manifest {
  const found = parsed(data);
  const version = (found as { schema?: unknown } | null)?.schema;
  if (typeof version === "number" && version > VERSION) {
    const fix = "a newer @hamsa/runtime";
    throw reject(version, "schema", `one of ${VERSION}`, { cause: "a newer hamsa-deploy wrote it", fix });
  }
  SCHEMA.check(found);
  const manifest = found as Manifest;
  checkPorts(manifest);
  checkFiles(manifest);
  checkStates(manifest);
  if (manifest.preprocessing) checkImages(manifest.preprocessing, manifest.inputs);
  if (manifest.audio) checkAudio(manifest.audio, manifest);
  return manifest;
}

function parsed(data: Uint8Array): unknown {
  if (data.length > MOST_BYTES) {
    throw new InputError(`manifest.json: ${data.length} bytes`, { expected: `at most ${MOST_BYTES}` });
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data));
  } catch (error) {
    throw new InputError(`manifest.json: not JSON (${(error as Error).message})`, {
      expected: "a manifest, as hamsa-export writes it",
      cause: "another file, or a server's page that says it is not there",
    });
  }
}

/** The manifest has them under "inputs" and "states": the graph takes both. */
function checkPorts({ inputs, outputs, states = [] }: Manifest): void {
  const sides = {
    inputs: [...inputs.map((each) => each.name), ...states.map((each) => each.input)],
    outputs: [...outputs.map((each) => each.name), ...states.map((each) => each.output)],
  };
  for (const [side, names] of Object.entries(sides)) {
    if (new Set(names).size !== names.length) throw reject(names, `${side}: names`, "each of them once");
  }
}

/** On macOS and Windows two names that differ only in case are one file, or one folder. */
function checkFiles({ files }: Manifest): void {
  const known = new Map([MANIFEST, SIGNATURE].map((name) => [name, name]));
  for (const name of Object.keys(files).sort()) {
    const parts = name.split("/");
    for (const i of parts.keys()) {
      const path = parts.slice(0, i + 1).join("/");
      const other = known.get(path.toLowerCase()) ?? path;
      known.set(path.toLowerCase(), other);
      if (other !== path) {
        throw reject([other, path], "files: names", "names that differ in more than upper and lower case");
      }
    }
  }
}

function checkStates({ states = [], files }: Manifest): void {
  for (const [i, state] of states.entries()) {
    if (!state.stored) continue;
    const expected = bytesOf(state.dtype, state.shape);
    const found = files[`state_${i}.bin`]?.bytes;
    if (found !== expected) throw reject(found ?? null, `files.state_${i}.bin: bytes`, `${expected}, as states says`);
  }
}

/** The image input must be what the preprocessing produces. */
function checkImages(how: Preprocessing, inputs: InputSpec[]): void {
  if (how.mean.length !== how.channels || how.std.length !== how.channels) {
    throw reject([how.mean, how.std], "preprocessing: mean and std", "one per channel");
  }
  const [dtype, layout, ...shape] =
    how.normalise === "graph"
      ? ["uint8", "NHWC", ...how.size, how.channels]
      : ["float32", "NCHW", how.channels, ...how.size];
  const [image, ...others] = inputs;
  const found = [image?.dtype, image?.layout, ...(image?.shape.slice(1) ?? [])];
  if (others.length || found.join() !== [dtype, layout, ...shape].join()) {
    throw reject(inputs, "inputs", `one input, ${dtype} ${layout}, ["batch" or a number, ${shape.join(", ")}]`);
  }
}

function checkAudio(how: Audio, manifest: Manifest): void {
  const spec = manifest.inputs.find((each) => each.name === how.input);
  if (!spec || manifest.preprocessing) throw reject(how.input, "audio: input", "one of the inputs, and no preprocessing");
  const channels = spec.shape.slice(spec.shape.length === 3 || (spec.shape.length === 2 && how.channels === 1) ? 1 : 0, -1);
  const fit = channels.length ? channels.length === 1 && channels[0] === how.channels : how.channels === 1;
  if (spec.dtype !== "float32" || !spec.shape.length || !fit) {
    throw reject([spec.dtype, spec.shape], "audio: the input", `float32 clips of ${how.channels} channels`);
  }
}
