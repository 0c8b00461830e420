/**
 * PNG files to pixels: a reader of our own, because what browsers give for them is not what is in the file: they manage
 * colours, and lose those of transparent pixels. The rule is that of image_files.py: right checksums, whole rows, an IEND,
 * palettes of 1 to 256 colours (missing ones are black), no unknown critical chunks, no 16-bit grey; of 16 bits the upper
 * 8 are taken; transparency is dropped, as are gamma and profiles.
 */
import { checkSize, truncated, unread } from "./files";
import { latin1, type Metadata, MOST_TEXT, orientationOf } from "./orientation";
import { type Pixels, turned } from "./pixels";

export const isPng = (data: Uint8Array): boolean => latin1(data.subarray(0, 8)) === "\x89PNG\r\n\x1a\n";

const MOST_CHUNKS = 1 << 16;
const PALETTE = 3;
// Depths of each colour type, and samples of a pixel.
const DEPTHS: Record<number, number[]> = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
const SAMPLES: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const CRITICAL: Record<string, string> = { IHDR: "H", PLTE: "P", IDAT: "D", IEND: "E" };
// Critical chunks in order, IDATs as one; "." is one or more of others after them.
const ORDERS = ["HDE", "HPDE", "HD.E", "HPD.E"];
// Of each pass of Adam7: the first column and row, and the steps to the next.
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]] as const;
const ALL = [[0, 0, 1, 1]] as const;

interface Header {
  width: number;
  height: number;
  bits: number;
  colour: number;
  passes: readonly (readonly [number, number, number, number])[];
}

/** @throws InputError, of a damaged file or one that is not read. */
export async function pixelsFromPng(data: Uint8Array): Promise<Pixels> {
  let header: Header | undefined;
  let palette: Uint8Array | undefined;
  let order = "";
  const packed: Uint8Array[] = [];
  const metadata: Metadata = {};
  for (const [name, body] of chunks(data)) {
    order = orderWith(order, name);
    if (name === "IHDR") header = headerFrom(body);
    else if (name === "PLTE") palette = body;
    else if (name === "IDAT") packed.push(body);
    else await addText(metadata, name, body);
  }
  const found = header!; // the order says that there is one
  const colours = found.colour === PALETTE ? wholePalette(palette, found.bits) : undefined;
  const rows = await unpacked(packed, bytesOfRows(found));
  if (!rows) throw unread("other packed pixels than the header says");
  return turned(pixelsFromRows(rows, found, colours), orientationOf(metadata));
}

/** Name and body of each, up to IEND. */
function* chunks(data: Uint8Array): Generator<[string, Uint8Array]> {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 8, i = 0; i < MOST_CHUNKS; i++) {
    if (at + 12 > data.length) throw truncated();
    const end = at + 12 + view.getUint32(at);
    const name = latin1(data.subarray(at + 4, at + 8));
    if (!/^[A-Za-z]{4}$/.test(name)) throw unread("a chunk without a name");
    if (end > data.length) throw truncated();
    if (crc32(data.subarray(at + 4, end - 4)) !== view.getUint32(end - 4)) throw unread(`wrong CRC of ${name}`);
    yield [name, data.subarray(at + 8, end - 4)];
    if (name === "IEND") return;
    at = end;
  }
  throw unread(`more than ${MOST_CHUNKS} chunks`);
}

/** The kinds of chunks so far, after a further one. */
function orderWith(order: string, name: string): string {
  const kind = CRITICAL[name] ?? ".";
  if (kind === "." && name < "a") throw unread(`unknown critical chunk ${name}`);
  if ((kind === "." && order && !order.includes("D")) || (".D".includes(kind) && order.endsWith(kind))) return order;
  if (!ORDERS.some((each) => each.startsWith(order + kind))) throw unread(`chunk ${name} out of place`);
  return order + kind;
}

function headerFrom(body: Uint8Array): Header {
  if (body.length !== 13) throw unread("a header of another length");
  const view = new DataView(body.buffer, body.byteOffset, 13);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [bits, colour, packing, filtering, interlace] = [...body.subarray(8)] as [number, number, number, number, number];
  checkSize(width, height);
  if (!DEPTHS[colour]?.includes(bits) || packing || filtering || interlace > 1) {
    throw unread("a header that the standard does not have");
  }
  if (colour === 0 && bits === 16) throw unread("more than 8 bits per channel", "8 bits per channel");
  return { width, height, bits, colour, passes: interlace ? ADAM7 : ALL };
}

const sizeOf = ({ width, height }: Header, [left, top, right, down]: readonly number[]): [number, number] => [
  Math.max(0, Math.ceil((width - left!) / right!)),
  Math.max(0, Math.ceil((height - top!) / down!)),
];

const bytesOfRow = ({ bits, colour }: Header, columns: number): number => Math.ceil((columns * bits * SAMPLES[colour]!) / 8);

/** Of the pixels before they are packed: each row begins with the number of its filter. */
function bytesOfRows(header: Header): number {
  return header.passes
    .map((pass) => sizeOf(header, pass))
    .reduce((sum, [columns, rows]) => sum + (columns && rows * (1 + bytesOfRow(header, columns))), 0);
}

function wholePalette(palette: Uint8Array | undefined, bits: number): Uint8Array {
  if (!palette?.length || palette.length % 3 || palette.length > 768) {
    throw unread(palette ? `a palette of ${palette.length} bytes` : "no palette");
  }
  const whole = new Uint8Array(3 << bits);
  whole.set(palette.subarray(0, whole.length));
  return whole;
}

/**
 * What zlib unpacks, if that is just so many bytes, or as many at most; a bomb is not unpacked further. Undefined otherwise.
 * Browsers do not tell a stream that is cut from one with more behind it, which other runtimes take for a text: so the file
 * is refused.
 */
async function unpacked(parts: Uint8Array[], expected: number, exactly = true): Promise<Uint8Array | undefined> {
  const out = new Uint8Array(expected);
  let done = 0;
  const stream = new Blob(parts as Uint8Array<ArrayBuffer>[]).stream().pipeThrough(new DecompressionStream("deflate"));
  try {
    for await (const piece of stream as unknown as AsyncIterable<Uint8Array>) {
      if (done + piece.length > expected) return undefined;
      out.set(piece, done);
      done += piece.length;
    }
  } catch {
    throw unread("packed data that is damaged, or has more behind it");
  }
  if (!exactly) return out.subarray(0, done);
  return done === expected ? out : undefined;
}

function pixelsFromRows(rows: Uint8Array, header: Header, palette: Uint8Array | undefined): Pixels {
  const { width, height, colour } = header;
  const channels = colour === PALETTE || colour === 2 || colour === 6 ? 3 : 1;
  const out = new Uint8Array(width * height * channels);
  let at = 0;
  for (const pass of header.passes) {
    const [columns, lines] = sizeOf(header, pass);
    if (!columns || !lines) continue;
    const length = bytesOfRow(header, columns);
    let above = new Uint8Array(length);
    for (let i = 0; i < lines; i++, at += 1 + length) {
      const row = rows.subarray(at + 1, at + 1 + length);
      unfilter(row, above, rows[at]!, Math.ceil((header.bits * SAMPLES[colour]!) / 8));
      above = row as Uint8Array<ArrayBuffer>;
      const samples = samplesOf(row, header, columns);
      const start = ((pass[1] + i * pass[3]) * width + pass[0]) * channels;
      putRow(samples, { step: SAMPLES[colour]!, palette, channels }, out, start, pass[2] * channels);
    }
  }
  return { width, height, channels, data: out };
}

// What a byte is the difference from, of the bytes to the left, above, and above to the left; by the number of the filter.
const PREDICTIONS: ((a: number, b: number, c: number) => number)[] = [() => 0, (a) => a, (_, b) => b, (a, b) => (a + b) >> 1, paeth];

/** In place; `left` is how many bytes before a byte that of the pixel to the left lies. */
function unfilter(row: Uint8Array, above: Uint8Array, filter: number, left: number): void {
  const predicted = PREDICTIONS[filter];
  if (!predicted) throw unread(`a row with the filter ${filter}`);
  for (let i = 0; i < row.length && filter; i++) {
    const inside = i >= left;
    row[i] = row[i]! + predicted(inside ? row[i - left]! : 0, above[i]!, inside ? above[i - left]! : 0);
  }
}

function paeth(a: number, b: number, c: number): number {
  const toA = Math.abs(b - c);
  const toB = Math.abs(a - c);
  const toC = Math.abs(a + b - 2 * c);
  return toA <= toB && toA <= toC ? a : toB <= toC ? b : c;
}

/** One byte each: of 16 bits the upper 8; of fewer than 8, grey is spread over 0..255, and indices stay. */
function samplesOf(row: Uint8Array, { bits, colour }: Header, columns: number): Uint8Array {
  if (bits === 8) return row;
  if (bits === 16) return row.filter((_, i) => i % 2 === 0);
  const most = (1 << bits) - 1;
  const scale = colour === PALETTE ? 1 : 255 / most;
  return Uint8Array.from({ length: columns }, (_, i) => {
    const place = i * bits;
    return ((row[place >> 3]! >> (8 - bits - (place & 7))) & most) * scale;
  });
}

interface Kind {
  step: number;
  palette: Uint8Array | undefined;
  channels: number;
}

function putRow(samples: Uint8Array, { step, palette, channels }: Kind, out: Uint8Array, start: number, next: number): void {
  for (let from = 0, to = start; from + step <= samples.length; from += step, to += next) {
    for (let c = 0; c < channels; c++) out[to + c] = palette ? palette[3 * samples[from]! + c]! : samples[from + c]!;
  }
}

/** The first of each kind that says which way up the picture is. */
async function addText(metadata: Metadata, name: string, body: Uint8Array): Promise<void> {
  const after = (key: string) => (latin1(body.subarray(0, key.length + 1)) === `${key}\0` ? body.subarray(key.length + 1) : undefined);
  const inflated = async (data: Uint8Array) => (await unpacked([data], MOST_TEXT - 1, false)) ?? new Uint8Array();
  const short = (text: Uint8Array) => (text.length < MOST_TEXT ? text : new Uint8Array());
  const profile = after("Raw profile type exif");
  const xmp = after("XML:com.adobe.xmp");
  if (name === "eXIf") metadata.exif ??= body;
  else if (name === "tEXt" && profile) metadata.rawProfile ??= short(profile);
  else if (name === "zTXt" && profile) metadata.rawProfile ??= profile[0] === 0 ? await inflated(profile.subarray(1)) : profile.subarray(0, 0);
  else if (name === "iTXt" && xmp) metadata.xmp ??= short(await international(xmp, inflated));
}

/** The text of an iTXt chunk after its keyword: two flags, language, keyword in that language, text. */
async function international(body: Uint8Array, inflated: (data: Uint8Array) => Promise<Uint8Array>): Promise<Uint8Array> {
  const language = body.indexOf(0, 2);
  const keyword = language < 0 ? -1 : body.indexOf(0, language + 1);
  const [isPacked, method] = [body[0]!, body[1]!];
  if (keyword < 0 || isPacked > 1 || (isPacked && method)) return new Uint8Array();
  const text = body.subarray(keyword + 1);
  return isPacked ? inflated(text) : text;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = CRC_TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
