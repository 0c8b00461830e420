/**
 * Pixels and samples, turned into what the graph takes, as the manifest says: the rules of images.py and preprocess.py.
 *
 * With pixels p in 0..255, a normalised image is x = (p / 255 - mean) / std for each channel, in float32. Bundles with
 * `normalise: graph` take p (uint8, NHWC) and compute x inside; with `runtime` they take x (float32, NCHW).
 */
import { InputError } from "./errors";
import { checkSize } from "./files";
import type { Manifest, Preprocessing } from "./manifest";
import { type Pixels, withChannels } from "./pixels";
import { resample } from "./resample";
import type { Tensor } from "./tensors";
import type { Clip } from "./wav";

/** The graph's input, a batch of one. */
export function tensorFromPixels(pixels: Pixels, how: Preprocessing): Tensor {
  const { width, height, channels, data } = resized(withChannels(pixels, how.channels), how);
  if (how.normalise === "graph") {
    return { dtype: "uint8", shape: [1, height, width, channels], data: Uint8Array.from(data) };
  }
  return { dtype: "float32", shape: [1, channels, height, width], data: normalised(data, how) };
}

/** Each step rounded to float32, as the other runtimes compute. */
function normalised(data: ArrayLike<number>, { channels, mean, std }: Preprocessing): Float32Array<ArrayBuffer> {
  const positions = data.length / channels;
  const x = new Float32Array(data.length);
  for (let c = 0; c < channels; c++) {
    const [m, s] = [Math.fround(mean[c]!), Math.fround(std[c]!)];
    for (let i = 0; i < positions; i++) {
      x[c * positions + i] = Math.fround(Math.fround(data[i * channels + c]! / 255) - m) / s;
    }
  }
  return x;
}

/** Scaled until the picture covers size / crop_fraction, aspect kept, or stretched to that; then the centre is cut out. */
export function resized(pixels: Pixels, how: Preprocessing): Pixels {
  const [height, width] = how.size;
  const box: [number, number] = [halfToEven(width / how.crop_fraction), halfToEven(height / how.crop_fraction)];
  const [wide, high] = how.fit === "stretch" ? box : scaledSize(pixels, ...box);
  checkSize(wide, high);
  const scaled = resample(pixels, wide, high, how.resize);
  return cropped(scaled, halfToEven((wide - width) / 2), halfToEven((high - height) / 2), width, height);
}

/** The smallest size with the picture's aspect that covers the box. */
function scaledSize({ width, height }: Pixels, boxWidth: number, boxHeight: number): [number, number] {
  if (width * boxHeight <= height * boxWidth) {
    return [boxWidth, Math.max(boxHeight, Math.floor((boxWidth * height) / width))];
  }
  return [Math.max(boxWidth, Math.floor((boxHeight * width) / height)), boxHeight];
}

/** As Python rounds: halves to the even number. */
function halfToEven(x: number): number {
  const down = Math.floor(x);
  if (x - down !== 0.5) return Math.round(x);
  return down % 2 === 0 ? down : down + 1;
}

function cropped({ width, channels, data }: Pixels, left: number, top: number, columns: number, rows: number): Pixels {
  const out = new Uint8Array(columns * rows * channels);
  for (let y = 0; y < rows; y++) {
    const start = ((top + y) * width + left) * channels;
    out.set(data.subarray(start, start + columns * channels), y * columns * channels);
  }
  return { width: columns, height: rows, channels, data: out };
}

/**
 * What a model of clips is called with for a clip, one call after the other: the whole clip; or, where the model keeps
 * something between calls and its input has a fixed length, blocks of that length, the last one filled up with zeros.
 *
 * @throws InputError: the clip has another length than the model takes.
 */
export function blocksOf(clip: Clip, manifest: Manifest): Tensor[] {
  const spec = manifest.inputs.find(({ name }) => name === manifest.audio?.input);
  if (!spec) throw new InputError("a clip for a model that takes none", { expected: "a bundle with audio" });
  const size = spec.shape.at(-1);
  const length = typeof size === "number" ? size : clip.length;
  if (length !== clip.length && !manifest.states?.length) {
    throw new InputError(`${clip.length} samples`, {
      expected: `${length}, the length of the input "${spec.name}"`,
      fix: "cut or fill it; or export with a free length",
    });
  }
  const rank = spec.shape.length;
  const channels = clip.channels.length;
  const shape = [[length], rank === 2 && spec.shape[0] !== channels ? [1, length] : [channels, length], [1, channels, length]][rank - 1]!;
  return Array.from({ length: Math.ceil(clip.length / length) }, (_, i) => {
    const data = new Float32Array(channels * length);
    for (const [c, samples] of clip.channels.entries()) data.set(samples.subarray(i * length, (i + 1) * length), c * length);
    return { dtype: "float32" as const, shape, data };
  });
}
