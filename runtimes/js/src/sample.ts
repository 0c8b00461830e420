/**
 * The comparison with the original once more, in this browser: sample.safetensors holds inputs of the graph, what the
 * original computes for them, and for floats what an error is relative to, by the definition that the manifest's figures
 * have (differences.py).
 */
import type { Bundle, Bytes } from "./bundle";
import type { Arrays, Engine } from "./engine";
import { InputError } from "./errors";
import { type Dtype, numbersOf, type Tensor, tensorFromBytes } from "./tensors";

export const SAMPLE = "sample.safetensors";

export interface Verdict {
  /** The largest, of all outputs of floats. */
  relativeError: number;
  /** The smallest share of equal whole numbers and truth values; undefined where no output has them. */
  equal: number | undefined;
  /** What the export allowed. */
  allowed: { relativeError: number; equal: number };
  /** How many inputs were compared, in each call of so many. */
  inputs: number;
  calls: number;
  passed: boolean;
}

const DTYPES: Record<string, Dtype> = {
  BOOL: "bool", U8: "uint8", I8: "int8", I32: "int32", I64: "int64", F16: "float16", F32: "float32", F64: "float64",
}; // prettier-ignore

/** Undefined for a bundle without a sample. */
export async function compareAgain(bundle: Bundle, engine: Engine): Promise<Verdict | undefined> {
  const { files, parity, states } = bundle.manifest;
  if (!files[SAMPLE] || !parity) return undefined;
  const sample = arraysFrom(await bundle.file(SAMPLE));
  const allowed = { relativeError: parity.thresholds["max_relative_error"] ?? 0, equal: parity.thresholds["equal"] ?? 1 };
  const verdict: Verdict = { relativeError: 0, equal: undefined, allowed, inputs: 1, calls: 0, passed: false };
  const calls = states?.length ? callsOf(sample) : [sample];
  verdict.calls = calls.length;
  await engine.reset();
  for (const call of calls) {
    add(verdict, (await engine.run(inside(call, "input."))).outputs, call);
  }
  await engine.reset();
  verdict.passed = verdict.relativeError <= allowed.relativeError && (verdict.equal ?? 1) >= allowed.equal;
  return verdict;
}

/** Of a stream: the calls are the first axis of all arrays. */
function callsOf(sample: Arrays): Arrays[] {
  const entries = Object.entries(sample);
  const slice = ({ dtype, shape: [calls = 1, ...shape], data }: Tensor, i: number): Tensor => {
    const size = data.length / calls;
    return { dtype, shape, data: data.slice(i * size, (i + 1) * size) };
  };
  const calls = entries[0]?.[1].shape[0] ?? 0;
  return Array.from({ length: calls }, (_, i) => Object.fromEntries(entries.map(([name, each]) => [name, slice(each, i)])));
}

function add(verdict: Verdict, outputs: Arrays, sample: Arrays): void {
  const units = inside(sample, "unit.");
  for (const [name, expected] of Object.entries(inside(sample, "output."))) {
    const found = outputs[name];
    if (found?.dtype !== expected.dtype || found.shape.join() !== expected.shape.join()) {
      throw new InputError(`the output "${name}" is ${found?.dtype} ${found?.shape}`, { expected: `${expected.dtype} ${expected.shape}` });
    }
    const unit = units[name];
    if (unit) verdict.relativeError = Math.max(verdict.relativeError, largestError(found, expected, unit));
    else verdict.equal = Math.min(verdict.equal ?? 1, shareOfEqual(found, expected));
    verdict.inputs = Math.max(verdict.inputs, expected.shape[0] ?? 1);
  }
}

/** NaN counts as infinitely wrong. */
function largestError(found: Tensor, expected: Tensor, unit: Tensor): number {
  const [a, b, units] = [numbersOf(found), numbersOf(expected), numbersOf(unit)];
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const error = Math.abs(a[i]! - b[i]!) / units[i]!;
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
