/**
 * WebP files: the one picture in them, by the rule of webp.py, for the browser's decoder. Where pixels are transparent,
 * browsers lose their colours, which the other runtimes keep: such files are refused, and so are animations.
 */
import { type Plain } from "./decoding";
import { checkSize, truncated, unread } from "./files";
import { latin1, type Metadata, orientationOf } from "./orientation";
import { MOST_PIXELS } from "./pixels";

const [HAS_ANIMATION, HAS_XMP, HAS_EXIF] = [2, 4, 8]; // flags of VP8X
const CANVAS_BYTES = 10; // of VP8X
const SIDE = 0x3fff;
const MOST_CHUNKS = 1 << 16;
const NO_ALPHA = "a picture without transparency: convert it to PNG";

export const isWebp = (data: Uint8Array): boolean =>
  latin1(data.subarray(0, 4)) === "RIFF" && latin1(data.subarray(8, 12)) === "WEBP";

type Chunk = { name: string; body: Uint8Array; whole: Uint8Array };

/** @throws InputError, of a damaged file or one that is not read. */
export function plainWebp(data: Uint8Array): Plain {
  const length = new DataView(data.buffer, data.byteOffset).getUint32(4, true);
  if (8 + length > data.length) throw truncated();
  const chunks = [...chunksOf(data.subarray(12, 8 + length))];
  const [first] = chunks;
  if (first?.name !== "VP8X") return plain(first, {});
  const [flags = 0] = first.body;
  if (first.body.length < CANVAS_BYTES) throw truncated();
  if (flags & HAS_ANIMATION) throw unread("an animated WebP", "a single picture");
  if (chunks.some(({ name }) => name === "ALPH")) throw unread("a WebP with transparency", NO_ALPHA);
  const body = (name: string) => chunks.find((chunk) => chunk.name === name)?.body;
  const [exif, xmp] = [flags & HAS_EXIF && body("EXIF"), flags & HAS_XMP && body("XMP ")];
  const picture = chunks.slice(1).find(({ name }) => name === "VP8 " || name === "VP8L");
  const found = plain(picture, { ...(exif && { exif }), ...(xmp && { xmp }) });
  if (found.width !== 1 + number24(first.body, 4) || found.height !== 1 + number24(first.body, 7)) {
    throw unread("a picture of another size than its canvas");
  }
  return found;
}

function* chunksOf(data: Uint8Array): Generator<Chunk> {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 0, i = 0; at < data.length; i++) {
    if (i === MOST_CHUNKS) throw unread(`more than ${MOST_CHUNKS} chunks`);
    if (at + 8 > data.length) throw truncated();
    const end = at + 8 + view.getUint32(at + 4, true);
    if (end > data.length) throw truncated();
    yield { name: latin1(data.subarray(at, at + 4)), body: data.subarray(at + 8, end), whole: data.subarray(at, end) };
    at = end + (end % 2);
  }
}

const number24 = (data: Uint8Array, at: number): number => data[at]! + data[at + 1]! * 256 + data[at + 2]! * 65536;

function plain(picture: Chunk | undefined, metadata: Metadata): Plain {
  const [width, height] = sizeOf(picture);
  checkSize(width, height, MOST_PIXELS / 2);
  const whole = picture!.whole;
  const head = new Uint8Array(12);
  const size = whole.length + (whole.length % 2);
  head.set([..."RIFF\0\0\0\0WEBP"].map((letter) => letter.charCodeAt(0)));
  new DataView(head.buffer).setUint32(4, 4 + size, true);
  const parts = [head, whole, new Uint8Array(size - whole.length)];
  return { parts, type: "image/webp", width, height, orientation: orientationOf(metadata) };
}

function sizeOf(picture: Chunk | undefined): [number, number] {
  const body = picture?.body ?? new Uint8Array();
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (picture?.name === "VP8 " && body.length >= 10 && !(body[0]! & 1)) {
    return [view.getUint16(6, true) & SIDE, view.getUint16(8, true) & SIDE];
  }
  if (picture?.name === "VP8L" && body.length >= 5 && body[0] === 0x2f) {
    const bits = view.getUint32(1, true);
    if ((bits >>> 28) & 1) throw unread("a WebP with transparency", NO_ALPHA);
    return [1 + (bits & SIDE), 1 + ((bits >>> 14) & SIDE)];
  }
  throw unread("no picture");
}
