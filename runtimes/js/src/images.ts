/** Image files to upright pixels, by what is in them, whatever they are called. */
import { isBmp, pixelsFromBmp } from "./bmp";
import { decoded } from "./decoding";
import { InputError } from "./errors";
import { isJpeg, plainJpeg } from "./jpeg";
import { MOST_PIXELS, type Pixels, withChannels } from "./pixels";
import { isPng, pixelsFromPng } from "./png";
import { isWebp, plainWebp } from "./webp";

const MOST_BYTES = 3 * MOST_PIXELS;

/**
 * Decodes a PNG, BMP, JPEG or WebP file. PNG and BMP are read here, the same in every browser; the others by the browser.
 *
 * @param data the file's content.
 * @param channels 3: red, green, blue; 1: grey.
 * @throws InputError: another format, damaged, more than 8 bits per channel, or too large.
 */
export async function pixelsFromFile(data: Uint8Array, channels: 1 | 3 = 3): Promise<Pixels> {
  if (data.length > MOST_BYTES) throw new InputError(`an image file of ${data.length} bytes`, { expected: `at most ${MOST_BYTES}` });
  return withChannels(await read(data), channels);
}

async function read(data: Uint8Array): Promise<Pixels> {
  if (isPng(data)) return pixelsFromPng(data);
  if (isBmp(data)) return pixelsFromBmp(data);
  if (isJpeg(data)) return decoded(plainJpeg(data));
  if (isWebp(data)) return decoded(plainWebp(data));
  throw new InputError("not an image in a known format", {
    expected: "a PNG, JPEG, BMP or WebP file",
    cause: "another format behind this name, or an empty or damaged file",
  });
}
