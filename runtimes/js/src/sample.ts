/**
 * The comparison with the original once more, in this browser: sample.safetensors holds inputs of the graph, what the
 * original computes for them, and for floats what an error is relative to, by the definition that the manifest's figures
 * have (differences.py).
 */
import type { Bundle, Bytes } from "./bundle";
import type { Arrays, Engine } from "./engine";
import { InputError } from "./errors";
import { type Dtype, type Tensor, tensorFromBytes } from "./tensors";

export const SAMPLE = "sample.safetensors";

export interface Verdict {
  /** The largest, of all outputs of floats. */
  relativeError: number;
  /** The smallest share of equal whole numbers and truth values; undefined where no output has them. */
  equal: number | undefined;
  /** What the export allowed. */
  allowed: { relativeError: number; equal: number };
  /** How many inputs were compared. */
  inputs: number;
  passed: boolean;
}

const DTYPES: Record<string, Dtype> = {
  BOOL: "bool", U8: "uint8", I8: "int8", I32: "int32", I64: "int64", F16: "float16", F32: "float32", F64: "float64",
}; // prettier-ignore

/** Undefined for a bundle without a sample. */
export async function compareAgain(bundle: Bundle, engine: Engine): Promise<Verdict | undefined> {
  if (!bundle.manifest.files[SAMPLE] || !bundle.manifest.parity) return undefined;
  const sample = arraysFrom(await bundle.file(SAMPLE));
  await engine.reset();
  const { outputs } = await engine.run(inside(sample, "input."));
  await engine.reset();
  return verdictOf(outputs, sample, bundle.manifest.parity.thresholds);
}

function verdictOf(outputs: Arrays, sample: Arrays, thresholds: Record<string, number>): Verdict {
  const allowed = { relativeError: thresholds["max_relative_error"] ?? 0, equal: thresholds["equal"] ?? 1 };
  const units = inside(sample, "unit.");
  let [relativeError, inputs] = [0, 1];
  let equal: number | undefined;
  for (const [name, expected] of Object.entries(inside(sample, "output."))) {
    const found = outputs[name];
    if (found?.shape.join() !== expected.shape.join()) {
      throw new InputError(`the output "${name}" has shape ${found?.shape}`, { expected: `${expected.shape}` });
    }
    const unit = units[name];
    if (unit) relativeError = Math.max(relativeError, largestError(found, expected, unit));
    else equal = Math.min(equal ?? 1, shareOfEqual(found, expected));
    inputs = Math.max(inputs, expected.shape[0] ?? 1);
  }
  const passed = relativeError <= allowed.relativeError && (equal ?? 1) >= allowed.equal;
  return { relativeError, equal, allowed, inputs, passed };
}

/** NaN counts as infinitely wrong. */
function largestError(found: Tensor, expected: Tensor, unit: Tensor): number {
  let worst = 0;
  for (let i = 0; i < found.data.length; i++) {
    const error = Math.abs(Number(found.data[i]) - Number(expected.data[i])) / Number(unit.data[i]);
    worst = error <= worst ? worst : Number.isNaN(error) ? Infinity : error;
  }
  return worst;
}

function shareOfEqual(found: Tensor, expected: Tensor): number {
  let same = 0;
  for (let i = 0; i < found.data.length; i++) same += Number(found.data[i] === expected.data[i]);
  return same / found.data.length;
}

const inside = (arrays: Arrays, start: string): Arrays =>
  Object.fromEntries(
    Object.entries(arrays)
      .filter(([name]) => name.startsWith(start))
      .map(([name, array]) => [name.slice(start.length), array]),
  );

/** The arrays of a safetensors file, whose hash has been compared: a length, as much JSON, and the numbers. */
export function arraysFrom(data: Bytes): Arrays {
  const length = Number(new DataView(data.buffer, data.byteOffset).getBigUint64(0, true));
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = JSON.parse(
    new TextDecoder().decode(data.subarray(8, 8 + length)),
  );
  const found: Arrays = {};
  for (const [name, entry] of Object.entries(header)) {
    const dtype = DTYPES[entry.dtype];
    if (name === "__metadata__") continue;
    if (!dtype) throw new InputError(`${SAMPLE}: ${name} is ${entry.dtype}`, { expected: Object.keys(DTYPES).join(", ") });
    const [start, end] = entry.data_offsets;
    found[name] = tensorFromBytes(dtype, entry.shape, data.subarray(8 + length + start, 8 + length + end));
  }
  return found;
}
