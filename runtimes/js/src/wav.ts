/** WAV files to samples, by the rule of wav.py: with b bits, a whole number p is the sample p / 2^(b - 1). */
import { InputError } from "./errors";
import type { Audio } from "./manifest";
import { latin1 } from "./orientation";

/** float32 samples of each channel, in [-1, 1] but for files of floats, which may be louder. */
export interface Clip {
  rate: number;
  length: number;
  channels: Float32Array[];
}

const MOST_CHUNKS = 1000;
const MOST_SAMPLES = 1 << 26;
const [PCM, FLOAT, EXTENSIBLE] = [1, 3, 0xfffe];
const GUID = "\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"; // what follows the tag of an extensible format
const BITS: Record<number, number[]> = { [PCM]: [8, 16, 24, 32], [FLOAT]: [32, 64] };

interface Format {
  kind: number;
  channels: number;
  rate: number;
  bits: number;
}

/**
 * @param data the file's content.
 * @param how which sample rate and how many channels it must have: nothing is resampled or mixed.
 * @throws InputError: another format, rate or number of channels, damaged, empty, too long, or not finite.
 */
export function clipFromWav(data: Uint8Array, how?: Audio): Clip {
  if (latin1(data.subarray(0, 4)) !== "RIFF" || latin1(data.subarray(8, 12)) !== "WAVE") {
    throw new InputError("not a sound in a known format", {
      expected: "a WAV file",
      cause: "another format behind this name, or an empty or damaged file",
      fix: "sox in.mp3 out.wav",
    });
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let format: Format | undefined;
  for (const { name, start, length } of chunks(data, view)) {
    if (name === "fmt ") format = formatFrom(view, data, start, length);
    if (name !== "data") continue;
    if (!format) throw damaged("its samples come before what they are");
    return samplesFrom(view, format, start, length, how);
  }
  throw damaged("no samples");
}

const damaged = (found: string, cause = ""): InputError =>
  new InputError(`the clip is damaged (${found})`, { expected: "a whole WAV file", cause });

/** What comes before the end is checked when the next one is asked for: the samples say more of why they are cut. */
function* chunks(data: Uint8Array, view: DataView): Generator<{ name: string; start: number; length: number }> {
  for (let at = 12, i = 0; i < MOST_CHUNKS; i++) {
    if (at + 8 > data.length) return;
    const [start, length] = [at + 8, view.getUint32(at + 4, true)];
    yield { name: latin1(data.subarray(at, at + 4)), start, length };
    if (start + length > data.length) throw damaged(`${length} bytes declared where ${data.length - start} are left`);
    at = start + length + (length % 2);
  }
  throw damaged(`more than ${MOST_CHUNKS} chunks`);
}

function formatFrom(view: DataView, data: Uint8Array, start: number, length: number): Format {
  const size = Math.min(length, 40, data.length - start);
  if (size < 16) throw damaged(`${size} bytes of format`);
  const short = (at: number) => view.getUint16(start + at, true);
  const [channels, rate, frame, bits] = [short(2), view.getUint32(start + 4, true), short(12), short(14)];
  const isExtensible = short(0) === EXTENSIBLE && size === 40 && latin1(data.subarray(start + 26, start + 40)) === GUID;
  const kind = isExtensible ? short(24) : short(0);
  if (!BITS[kind]?.includes(bits)) {
    throw new InputError(`samples of the kind ${kind} with ${bits} bits`, {
      expected: "PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64",
      cause: "a compressed WAV file",
      fix: "sox in.wav -b 16 -e signed out.wav",
    });
  }
  if (channels < 1 || rate < 1 || frame !== (channels * bits) / 8) {
    throw damaged(`${channels} channels, ${rate} Hz, ${frame} bytes of ${bits}-bit samples`);
  }
  return { kind, channels, rate, bits };
}

function samplesFrom(view: DataView, format: Format, start: number, length: number, how?: Audio): Clip {
  const width = format.bits / 8;
  const frame = width * format.channels;
  if (start + length > view.byteLength) {
    const cause = length >= 0xffffff00 ? "its size was never written, as of a stream" : "it was cut off";
    throw damaged(`${length} bytes of samples declared, ${view.byteLength - start} there`, cause);
  }
  if (length % frame) throw damaged(`${length} bytes of samples, of ${frame} each`);
  const frames = length / frame;
  check(format, frames, how);
  const read = reader(view, format);
  const channels = Array.from({ length: format.channels }, (_, c) =>
    Float32Array.from({ length: frames }, (_, i) => read(start + i * frame + c * width)),
  );
  if (!channels.every((samples) => samples.every(Number.isFinite))) {
    throw new InputError("a clip with NaN or infinity in it", { expected: "finite samples" });
  }
  return { rate: format.rate, length: frames, channels };
}

function check({ rate, channels }: Format, frames: number, how?: Audio): void {
  if (how && rate !== how.sample_rate) {
    const fix = `sox in.wav -r ${how.sample_rate} out.wav`;
    throw new InputError(`${rate} Hz`, { expected: `${how.sample_rate} Hz: a runtime does not resample`, fix });
  }
  if (how && channels !== how.channels) {
    const fix = `sox in.wav -c ${how.channels} out.wav`;
    throw new InputError(`${channels} channels`, { expected: `${how.channels}: a runtime does not mix channels`, fix });
  }
  if (!frames) throw new InputError("a clip without samples", { expected: "at least one" });
  if (frames * channels > MOST_SAMPLES) {
    const expected = `at most ${MOST_SAMPLES} samples of all channels together`;
    throw new InputError(`too long: ${frames} samples of ${channels}`, { expected, fix: "cut it first" });
  }
}

/** One sample, from where it begins, before it is rounded to float32. */
function reader(view: DataView, { kind, bits }: Format): (at: number) => number {
  if (kind === FLOAT) return bits === 32 ? (at) => view.getFloat32(at, true) : (at) => view.getFloat64(at, true);
  if (bits === 8) return (at) => (view.getUint8(at) - 128) / 128;
  if (bits === 16) return (at) => view.getInt16(at, true) / 2 ** 15;
  if (bits === 24) return (at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 65536) / 2 ** 23;
  return (at) => view.getInt32(at, true) / 2 ** 31;
}
