/**
 * Pillow's antialiased resize, in its own whole numbers: weights of 22 bits of fraction, each pass rounded to bytes.
 *
 * An output pixel i of m stands at c = (i + 0.5) n / m in n input pixels; its weight of input pixel j is that of the filter
 * at (j - c + 0.5) / s, s = max(n / m, 1), divided by the sum of all.
 */
import { InputError } from "./errors";
import type { Pixels } from "./pixels";

const FRACTION = 22;
const HALF = 1 << (FRACTION - 1);

interface Filter {
  weight(x: number): number;
  support: number;
}

const A = -0.5; // of the cubic
const FILTERS: Record<string, Filter> = {
  bilinear: { weight: (x) => Math.max(0, 1 - Math.abs(x)), support: 1 },
  bicubic: {
    weight(signed) {
      const x = Math.abs(signed);
      if (x < 1) return ((A + 2) * x - (A + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * A : 0;
    },
    support: 2,
  },
};

/** The input pixels of one output pixel, from `first` on, and their weights. */
interface Taps {
  first: number;
  weights: Int32Array;
}

/** The width first, then the height: both passes round, so that the order matters. */
export function resample(pixels: Pixels, width: number, height: number, filter: string): Pixels {
  const found = FILTERS[filter];
  if (!found) throw new InputError(`unknown filter ${filter}`, { expected: Object.keys(FILTERS).join(" or ") });
  const rows = allTaps(pixels.height, height, found);
  const wide = width === pixels.width ? pixels : withWidth(pixels, width, found, usedRows(rows, pixels, height));
  return height === pixels.height ? wide : withHeight(wide, rows);
}

/** Those of the input that the second pass reads. */
function usedRows(rows: Taps[], pixels: Pixels, height: number): [number, number] {
  if (height === pixels.height) return [0, height];
  const last = rows.at(-1)!;
  return [rows[0]!.first, last.first + last.weights.length];
}

const edge = (position: number, n: number): number => Math.min(Math.max(Math.floor(position + 0.5), 0), n);

const quantised = (weight: number): number => Math.trunc(weight * 2 ** FRACTION + (weight < 0 ? -0.5 : 0.5));

function tapsAt(i: number, n: number, m: number, filter: Filter): Taps {
  const ratio = n / m;
  const scale = Math.max(ratio, 1);
  const centre = (i + 0.5) * ratio;
  const first = edge(Math.max(centre - filter.support * scale, 0), n);
  const end = edge(centre + filter.support * scale, n);
  const weights = Array.from({ length: end - first }, (_, k) => filter.weight((first + k - centre + 0.5) * (1 / scale)));
  const sum = weights.reduce((all, each) => all + each, 0);
  return { first, weights: Int32Array.from(weights, (each) => quantised(sum === 0 ? each : each / sum)) };
}

const allTaps = (n: number, m: number, filter: Filter): Taps[] =>
  Array.from({ length: m }, (_, i) => tapsAt(i, n, m, filter));

/** Rows outside of [top, bottom) stay black: nothing reads them. */
function withWidth({ width, height, channels, data }: Pixels, columns: number, filter: Filter, [top, bottom]: [number, number]): Pixels {
  const taps = allTaps(width, columns, filter);
  const out = new Uint8ClampedArray(columns * height * channels);
  const write = channels === 3 ? writeColours : writeGrey;
  for (let y = top; y < bottom; y++) write(data, y * width * channels, taps, out, y * columns * channels);
  return { width: columns, height, channels, data: out };
}

type Bytes = Uint8Array | Uint8ClampedArray;

function writeGrey(data: Bytes, row: number, taps: Taps[], out: Uint8ClampedArray, to: number): void {
  for (const { first, weights } of taps) {
    let sum = HALF;
    for (let k = 0; k < weights.length; k++) sum += data[row + first + k]! * weights[k]!;
    out[to++] = sum >> FRACTION;
  }
}

/** The three sums side by side: twice as fast as one after the other. */
function writeColours(data: Bytes, row: number, taps: Taps[], out: Uint8ClampedArray, to: number): void {
  for (const { first, weights } of taps) {
    let [red, green, blue] = [HALF, HALF, HALF];
    for (let k = 0, from = row + 3 * first; k < weights.length; k++, from += 3) {
      const weight = weights[k]!;
      red += data[from]! * weight;
      green += data[from + 1]! * weight;
      blue += data[from + 2]! * weight;
    }
    out[to++] = red >> FRACTION;
    out[to++] = green >> FRACTION;
    out[to++] = blue >> FRACTION;
  }
}

function withHeight({ width, channels, data }: Pixels, rows: Taps[]): Pixels {
  const length = width * channels;
  const out = new Uint8ClampedArray(length * rows.length);
  const sums = new Int32Array(length);
  for (const [y, { first, weights }] of rows.entries()) {
    sums.fill(HALF);
    for (let k = 0; k < weights.length; k++) {
      const [from, weight] = [(first + k) * length, weights[k]!];
      for (let x = 0; x < length; x++) sums[x]! += data[from + x]! * weight;
    }
    for (let x = 0; x < length; x++) out[y * length + x] = sums[x]! >> FRACTION;
  }
  return { width, height: rows.length, channels, data: out };
}
