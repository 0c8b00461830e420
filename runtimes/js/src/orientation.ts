/**
 * Which way up a picture is: the rule of orientation.py. The first EXIF of the file, then the first raw profile of a PNG,
 * then the first XMP packet; the first of these that says a whole number from 1 to 8. What is damaged says nothing.
 */

export interface Metadata {
  exif?: Uint8Array;
  rawProfile?: Uint8Array;
  xmp?: Uint8Array;
}

export const MOST_TEXT = 1 << 20; // of a PNG's text, which may be packed: as much says nothing

const EXIF_START = "Exif\0\0";
const TAG = 0x0112;
const ENTRY = 12;

export const latin1 = (bytes: Uint8Array): string => {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
};

export const startsWith = (bytes: Uint8Array, text: string): boolean => latin1(bytes.subarray(0, text.length)) === text;

/** 1 to 8, as EXIF counts. */
export function orientationOf({ exif, rawProfile, xmp }: Metadata): number {
  return (
    (exif && fromExif(exif)) || (rawProfile && fromExif(fromRawProfile(rawProfile))) || (xmp && fromXmp(xmp)) || 1
  );
}

/** Without the mark before it, where there is one. */
export const withoutExifStart = (bytes: Uint8Array): Uint8Array =>
  startsWith(bytes, EXIF_START) ? bytes.subarray(EXIF_START.length) : bytes;

function fromExif(bytes: Uint8Array): number {
  const tiff = withoutExifStart(bytes);
  const little = startsWith(tiff, "II*\0");
  if (!little && !startsWith(tiff, "MM\0*")) return 0;
  try {
    return fromDirectory(new DataView(tiff.buffer, tiff.byteOffset, tiff.byteLength), little);
  } catch (error) {
    if (error instanceof RangeError) return 0; // past the end
    throw error;
  }
}

function fromDirectory(tiff: DataView, little: boolean): number {
  const directory = tiff.getUint32(4, little);
  const entries = tiff.getUint16(directory, little);
  for (let i = 0, at = directory + 2; i < entries; i++, at += ENTRY) {
    const tag = tiff.getUint16(at, little);
    const kind = tiff.getUint16(at + 2, little);
    const count = tiff.getUint32(at + 4, little);
    if (tag !== TAG) continue;
    const value = count === 1 ? wholeNumber(tiff, at + 8, kind, little) : 0;
    return value >= 1 && value <= 8 ? value : 0;
  }
  return 0;
}

function wholeNumber(tiff: DataView, at: number, kind: number, little: boolean): number {
  if (kind === 1) return tiff.getUint8(at);
  if (kind === 3) return tiff.getUint16(at, little);
  if (kind === 4 || kind === 13) return tiff.getUint32(at, little);
  if (kind === 6) return tiff.getInt8(at);
  if (kind === 8) return tiff.getInt16(at, little);
  return kind === 9 ? tiff.getInt32(at, little) : 0;
}

/** "\nexif\n    length\nhexadecimal" to bytes, empty if it is not that. */
function fromRawProfile(text: Uint8Array): Uint8Array {
  const digits = latin1(text)
    .split("\n")
    .slice(3)
    .join("")
    .replace(/[ \t\n\r\v\f]/g, "");
  if (digits.length % 2 || /[^0-9a-fA-F]/.test(digits)) return new Uint8Array();
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}

function fromXmp(packet: Uint8Array): number {
  const found = /tiff:Orientation(?:="([1-8])"|>([1-8])<)/.exec(latin1(packet));
  return Number(found?.[1] ?? found?.[2] ?? 0);
}
