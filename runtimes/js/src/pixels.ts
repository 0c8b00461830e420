/** Pictures as rows of 8-bit pixels. */

export interface Pixels {
  width: number;
  height: number;
  /** 1: grey; 3: red, green, blue. */
  channels: 1 | 3;
  /** Rows from the top, pixels from the left, channels side by side. */
  data: Uint8Array | Uint8ClampedArray;
}

// What a phone's sensor has, as in the other runtimes: found in the header, before anything is unpacked.
export const MOST_PIXELS = 8192 * 6144;

/** Grey is replicated; colours become the luma of ITU-R 601, in Pillow's 16 bits of fraction. */
export function withChannels(pixels: Pixels, channels: 1 | 3): Pixels {
  if (pixels.channels === channels) return pixels;
  const { width, height, data } = pixels;
  const count = width * height;
  const out = new Uint8Array(count * channels);
  for (let i = 0; i < count; i++) {
    if (channels === 3) out.fill(data[i]!, 3 * i, 3 * i + 3);
    else out[i] = (data[3 * i]! * 19595 + data[3 * i + 1]! * 38470 + data[3 * i + 2]! * 7471 + 0x8000) >> 16;
  }
  return { width, height, channels, data: out };
}

/** Of red, green, blue and transparency, which is dropped. */
export function pixelsFromRgba(rgba: { width: number; height: number; data: Uint8ClampedArray | Uint8Array }): Pixels {
  const { width, height, data } = rgba;
  const out = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; to < out.length; from += 4) {
    out[to++] = data[from]!;
    out[to++] = data[from + 1]!;
    out[to++] = data[from + 2]!;
  }
  return { width, height, channels: 3, data: out };
}

/** The picture upright, of one whose file says an orientation of 1 to 8, as EXIF counts. */
export function turned(pixels: Pixels, orientation: number): Pixels {
  if (orientation < 2 || orientation > 8) return pixels;
  const { width, height, channels, data } = pixels;
  const swaps = orientation > 4;
  const [columns, rows] = swaps ? [height, width] : [width, height];
  const right = [2, 3, 7, 8].includes(orientation); // the stored picture is read from there
  const bottom = [3, 4, 6, 7].includes(orientation);
  const out = new Uint8Array(data.length);
  for (let y = 0, to = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const [u, v] = swaps ? [y, x] : [x, y];
      const column = right ? width - 1 - u : u;
      const row = bottom ? height - 1 - v : v;
      const from = (row * width + column) * channels;
      for (let c = 0; c < channels; c++) out[to++] = data[from + c]!;
    }
  }
  return { width: columns, height: rows, channels, data: out };
}
