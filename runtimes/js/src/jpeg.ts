/**
 * JPEG files: what of one is given to the browser's decoder, by the rule of image_files.py. It sees frames, tables and
 * scans, and JFIF or Adobe's segment, which say what the colours are: neither profiles nor EXIF, so that it neither manages
 * colours nor turns the picture. Inks (four components) are refused: browsers and Pillow make other colours of them.
 */
import { type Plain } from "./decoding";
import { checkSize, truncated, unread } from "./files";
import { latin1, type Metadata, orientationOf, startsWith } from "./orientation";

export const isJpeg = (data: Uint8Array): boolean => data[0] === 0xff && data[1] === 0xd8 && data[2] === 0xff;

const MOST_SEGMENTS = 1 << 16;
const MOST_SCANS = 100;
const MOST_SCANNED = 1e9; // pixels in all scans: a progressive file of some kB may hold thousands
const [EOI, SOS, PROGRESSIVE] = [0xd9, 0xda, 0xc2];
const FRAMES = [0xc0, 0xc1, PROGRESSIVE];
const TABLES = [0xc4, 0xdb, 0xdd]; // DHT, DQT, DRI
const isIgnored = (code: number): boolean => [0xcc, 0xdc, 0xfe].includes(code) || (code >= 0xe0 && code < 0xf0);
const hasNoLength = (code: number): boolean => code === 0x01 || isRestart(code);
const isRestart = (code: number): boolean => code >= 0xd0 && code < 0xd8;
const ALL_COEFFICIENTS = (1n << 64n) - 1n;

interface Segment {
  code: number;
  start: number;
  end: number;
  body: Uint8Array;
}

/** @throws InputError, of a damaged file or one that is not read. */
export function plainJpeg(data: Uint8Array): Plain {
  const kept: Uint8Array[] = [data.subarray(0, 2)];
  const metadata: Metadata = {};
  let frame: Frame | undefined;
  let [first, end] = [0, 0];
  for (const segment of segments(data)) {
    const { code, body } = segment;
    end = segment.start + 2;
    if (FRAMES.includes(code)) {
      if (frame) throw unread("more than one frame");
      frame = new Frame(code, body);
    }
    if (code === SOS) {
      if (!frame) throw unread("a scan before the frame");
      frame.addScan(body);
      first ||= segment.start;
    } else if (!first) {
      if (isKept(code, body)) kept.push(data.subarray(segment.start, segment.end));
      addMetadata(metadata, code, body);
    }
  }
  if (!frame) throw unread("no pixels");
  frame.checkEnd();
  kept.push(data.subarray(first, end));
  const { width, height } = frame;
  return { parts: kept, type: "image/jpeg", width, height, orientation: orientationOf(metadata) };
}

/** Up to EOI; fill and stray bytes between them are passed over. */
function* segments(data: Uint8Array): Generator<Segment> {
  let at = 2;
  let inScan = false;
  for (let i = 0; i < MOST_SEGMENTS; i++) {
    const start = nextMarker(data, at, inScan);
    const code = data[start + 1]!;
    at = start + 2;
    if (hasNoLength(code)) continue;
    if (code === EOI) {
      yield { code, start, end: at, body: data.subarray(at, at) };
      return;
    }
    if (![...FRAMES, ...TABLES, SOS].includes(code) && !isIgnored(code)) {
      throw unread(`marker 0x${code.toString(16)}, which is no part of a Huffman-coded JPEG`);
    }
    const length = at + 2 > data.length ? 0 : data[at]! * 256 + data[at + 1]!;
    if (length < 2 || at + length > data.length) throw truncated();
    yield { code, start, end: at + length, body: data.subarray(at + 2, at + length) };
    at += length;
    inScan ||= code === SOS;
  }
  throw unread(`more than ${MOST_SEGMENTS} segments`);
}

function nextMarker(data: Uint8Array, from: number, inScan: boolean): number {
  for (let at = from; at + 1 < data.length; at++) {
    const code = data[at + 1]!;
    if (data[at] === 0xff && code !== 0 && code !== 0xff && !(inScan && isRestart(code))) return at;
  }
  throw truncated();
}

/** Follows how much its scans say of each component: the bits of a mask are coefficients that are known in full. */
class Frame {
  readonly width: number;
  readonly height: number;
  private readonly names: number[];
  private readonly known: bigint[];
  private readonly isProgressive: boolean;
  private scans = 0;

  constructor(code: number, body: Uint8Array) {
    const layers = body[5] ?? 0;
    if (body[0] !== 8) throw unread(`${body[0]}-bit layers`, "8 bits per channel");
    if (layers === 4) throw unread("four inks", "grey or colours: convert it to PNG");
    if ((layers !== 1 && layers !== 3) || body.length !== 6 + 3 * layers) throw unread(`${layers}-layer images`);
    this.height = body[1]! * 256 + body[2]!;
    this.width = body[3]! * 256 + body[4]!;
    checkSize(this.width, this.height);
    this.names = [...body.subarray(6)].filter((_, i) => i % 3 === 0);
    this.known = this.names.map(() => 0n);
    this.isProgressive = code === PROGRESSIVE;
  }

  addScan(body: Uint8Array): void {
    this.scans += 1;
    if (this.scans > MOST_SCANS || this.scans * this.width * this.height > MOST_SCANNED) throw unread("too many scans");
    if (!body.length || body.length !== 4 + 2 * body[0]!) throw unread("a scan of another length");
    const names = [...body.subarray(1, -3)].filter((_, i) => i % 2 === 0);
    const [first, last, low] = [body.at(-3)!, body.at(-2)!, body.at(-1)! & 15];
    if (this.isProgressive && !(first <= last && last < 64)) throw unread(`a scan of coefficients ${first} to ${last}`);
    const some = low ? 0n : (2n << BigInt(last)) - (1n << BigInt(first));
    const known = this.isProgressive ? some : ALL_COEFFICIENTS;
    for (const [i, name] of this.names.entries()) {
      if (names.includes(name) || names.length === this.names.length) this.known[i]! |= known;
    }
  }

  checkEnd(): void {
    if (this.known.some((known) => known !== ALL_COEFFICIENTS)) throw unread("scans are missing");
  }
}

/** What a decoder needs before the first scan. */
function isKept(code: number, body: Uint8Array): boolean {
  const isJfif = code === 0xe0 && startsWith(body, "JFIF\0") && body.length >= 14;
  const isAdobe = code === 0xee && startsWith(body, "Adobe") && body.length >= 12;
  return isJfif || isAdobe || FRAMES.includes(code) || TABLES.includes(code);
}

function addMetadata(metadata: Metadata, code: number, body: Uint8Array): void {
  if (code !== 0xe1) return;
  const xmp = "http://ns.adobe.com/xap/1.0/\0";
  if (startsWith(body, "Exif\0\0")) metadata.exif ??= body.subarray(6);
  else if (latin1(body.subarray(0, xmp.length)) === xmp) metadata.xmp ??= body.subarray(xmp.length);
}
