/** The same samples as in Python, and the same refusals. */
import { describe, expect, test } from "vitest";
import { blocksOf, clipFromWav, manifestFromJson } from "../src";
import { bytes, FIXTURES, named, raw } from "./fixtures";

const [first] = FIXTURES.clips;
const file = bytes(first!.file);

describe("WAV files", () => {
  test.each(named(FIXTURES.clips))("%s", (_, { file, samples }) => {
    const clip = clipFromWav(bytes(file), { input: "x", sample_rate: 16000, channels: 2 });
    expect(Buffer.concat(clip.channels.map(raw))).toEqual(Buffer.from(bytes(samples)));
  });

  test("nothing is resampled or mixed", () => {
    expect(() => clipFromWav(file, { input: "x", sample_rate: 8000, channels: 2 })).toThrow(/16000 Hz[^]*sox in.wav -r 8000/);
    expect(() => clipFromWav(file, { input: "x", sample_rate: 16000, channels: 1 })).toThrow(/2 channels[^]*sox in.wav -c 1/);
  });

  test("a file that was cut says so", () => {
    expect(() => clipFromWav(file.subarray(0, file.length - 2))).toThrow(/14 bytes of samples declared, 12 there[^]*cut off/);
    expect(() => clipFromWav(file.subarray(0, 30))).toThrow(/no samples|bytes of format|declared/);
  });

  test("another format is refused", () => {
    expect(() => clipFromWav(bytes("ZkxhQwAAACI="))).toThrow(/known format/);
    const compressed = file.slice();
    compressed[20] = 2;
    expect(() => clipFromWav(compressed)).toThrow(/samples of the kind 2/);
  });
});

describe("calls", () => {
  const port = (shape: (number | string)[]) => ({ name: "x", dtype: "float32", shape, layout: null });
  const manifest = (shape: (number | string)[], channels: number, states: object[] = []) => {
    const document = { ...FIXTURES.manifest, inputs: [port(shape)], preprocessing: null, states };
    const axes = shape.includes("samples") ? [{ name: "samples", min: 1, max: null, example: 4 }] : [];
    const audio = { input: "x", sample_rate: 16000, channels };
    return manifestFromJson(Buffer.from(JSON.stringify({ ...document, audio, axes })));
  };
  const state = { name: "s", dtype: "float32", shape: [1], input: "s_in", output: "s_out", stored: false };
  const clip = (channels: number) => ({
    rate: 16000,
    length: 5,
    channels: Array.from({ length: channels }, (_, c) => Float32Array.of(1, 2, 3, 4, 5).map((x) => 10 * c + x)),
  });

  test.each([
    [["samples"], 1, [5]],
    [["batch", "samples"], 1, [1, 5]],
    [[2, "samples"], 2, [2, 5]],
    [["batch", 2, 5], 2, [1, 2, 5]],
  ])("%j of %i", (shape, channels, expected) => {
    const [block] = blocksOf(clip(channels), manifest(shape, channels));
    expect(block!.shape).toEqual(expected);
    expect([...block!.data].map(Number)).toEqual(clip(channels).channels.flatMap((each) => [...each]));
  });

  test("a model that keeps something is given blocks, the last one filled up", () => {
    const blocks = blocksOf(clip(2), manifest([1, 2, 3], 2, [state]));
    expect(blocks.map((each) => [...each.data].map(Number))).toEqual([[1, 2, 3, 11, 12, 13], [4, 5, 0, 14, 15, 0]]);
  });

  test("a clip of another length is refused where nothing is kept", () => {
    expect(() => blocksOf(clip(1), manifest([1, 3], 1))).toThrow(/5 samples[^]*expected: 3/);
  });
});
