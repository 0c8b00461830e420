/**
 * BMP files to pixels, by the rule of bmp.py: headers of Windows, pixels that are not compressed, of 1, 4 or 8 bits (an index
 * into a palette), 24 (blue, green, red) or 32 (one byte more, which is dropped).
 */
import { checkSize, truncated, unread } from "./files";
import type { Pixels } from "./pixels";

export const isBmp = (data: Uint8Array): boolean => data[0] === 0x42 && data[1] === 0x4d;

const FILE_HEADER = 14;
const HEADERS = [40, 52, 56, 108, 124];
const BITS = [1, 4, 8, 24, 32];
const [PLAIN, BITFIELDS] = [0, 3];
const MASKS = [0xff0000, 0xff00, 0xff];
const EXPECTED = "a BMP of Windows of 1, 4, 8, 24 or 32 bits, not compressed";

interface Header {
  bits: number;
  width: number;
  height: number;
  fromTop: boolean;
  start: number;
}

/** @throws InputError, of a damaged file or one that is not read. */
export function pixelsFromBmp(data: Uint8Array): Pixels {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const header = headerFrom(view);
  const { bits, width, height, start, fromTop } = header;
  const row = Math.floor((width * bits + 31) / 32) * 4;
  if (start + row * height > data.length) throw truncated();
  const palette = bits <= 8 ? paletteFrom(data, view, bits) : undefined;
  const out = new Uint8Array(3 * width * height);
  for (let y = 0, to = 0; y < height; y++) {
    const from = start + row * (fromTop ? y : height - 1 - y);
    for (let x = 0; x < width; x++, to += 3) {
      if (palette) putColour(out, to, palette, 4 * indexAt(data, from, x, bits));
      else putColour(out, to, data, from + (x * bits) / 8);
    }
  }
  return { width, height, channels: 3, data: out };
}

/** Blue, green, red, in a palette as in pixels. */
function putColour(out: Uint8Array, to: number, colours: Uint8Array, from: number): void {
  out[to] = colours[from + 2]!;
  out[to + 1] = colours[from + 1]!;
  out[to + 2] = colours[from]!;
}

function indexAt(data: Uint8Array, row: number, x: number, bits: number): number {
  const place = x * bits;
  return (data[row + (place >> 3)]! >> (8 - bits - (place & 7))) & ((1 << bits) - 1);
}

function headerFrom(view: DataView): Header {
  if (view.byteLength < FILE_HEADER + 4) throw truncated();
  const length = view.getUint32(FILE_HEADER, true);
  if (!HEADERS.includes(length)) throw unread(`a BMP image with a header of ${length} bytes`, EXPECTED);
  if (view.byteLength < FILE_HEADER + length) throw truncated();
  const [width, high] = [view.getInt32(18, true), view.getInt32(22, true)];
  const [bits, packing] = [view.getUint16(28, true), view.getUint32(30, true)];
  const masked = () => view.byteLength >= 66 && MASKS.every((mask, i) => view.getUint32(FILE_HEADER + 40 + 4 * i, true) === mask);
  if (!BITS.includes(bits) || !(packing === PLAIN || (packing === BITFIELDS && bits === 32 && masked()))) {
    throw unread(`a BMP image of ${bits} bits, compression ${packing}`, EXPECTED);
  }
  checkSize(width, Math.abs(high));
  return { bits, width, height: Math.abs(high), fromTop: high < 0, start: view.getUint32(10, true) };
}

/** All that an index can name; what is missing is black. */
function paletteFrom(data: Uint8Array, view: DataView, bits: number): Uint8Array {
  const start = FILE_HEADER + view.getUint32(FILE_HEADER, true);
  const count = Math.min(view.getUint32(46, true) || 1 << bits, 1 << bits);
  if (start + 4 * count > data.length) throw truncated();
  const palette = new Uint8Array(4 << 8);
  palette.set(data.subarray(start, start + 4 * count));
  return palette;
}
