/** The manifest's schema, and what no single field tells. */
import { expect, test } from "vitest";
import { manifestFromJson } from "../src";
import { FIXTURES } from "./fixtures";

type Fields = Record<string, unknown>;
const read = (changes: Fields) => manifestFromJson(Buffer.from(JSON.stringify({ ...FIXTURES.manifest, ...changes })));
const { preprocessing, inputs } = FIXTURES.manifest as { preprocessing: Fields; inputs: Fields[] };
const state = { name: "s", dtype: "float32", shape: [3], input: "s_in", output: "s_out", stored: true };

test("what Python takes is taken", () => {
  expect(read({}).inputs[0]!.name).toBe("image");
});

test.each<[string, Fields, RegExp]>([
  ["an unknown key", { preprocesing: null }, /unknown key "preprocesing"/],
  ["a newer schema", { schema: 2, novel: 1 }, /schema is 2[^]*newer hamsa-deploy[^]*newer @hamsa\/runtime/],
  ["a wrong type", { name: 3 }, /name is 3\n {2}expected: a text/],
  ["no whole number", { inputs: [{ ...inputs[0], shape: ["batch", 8.5, 12, 3] }] }, /inputs\[0\]\.shape\[1\] is 8.5/],
  ["control characters", { name: "a\u001b[2J" }, /name is "a\\u001b\[2J"/],
  ["a path out of the folder", { files: { "../x": { sha256: "0".repeat(64), bytes: 1 } } }, /relative path inside/],
  ["a missing key", { files: undefined }, /files is missing/],
  ["means of other channels", { preprocessing: { ...preprocessing, mean: [0.5] } }, /one per channel/],
  ["another input than the pixels make", { preprocessing: { ...preprocessing, size: [9, 9] } }, /one input, uint8 NHWC/],
  ["a name twice", { inputs: [...inputs, ...inputs], preprocessing: null }, /each of them once/],
  ["a state without its file", { states: [state] }, /state_0.bin: bytes is null[^]*12/],
  ["audio of no input", { audio: { input: "y", sample_rate: 1, channels: 1 }, preprocessing: null }, /audio: input is "y"/],
])("%s is refused", (_, changes, expected) => {
  expect(() => read(changes)).toThrow(expected);
});

test.each(FIXTURES.files)("files called %j are taken: %s", (names, isRight) => {
  const files = Object.fromEntries(names.map((name) => [name, { sha256: "0".repeat(64), bytes: 1 }]));
  if (isRight) expect(Object.keys(read({ files }).files)).toEqual(names);
  else expect(() => read({ files })).toThrow(/manifest.json: files/);
});

test("what is no JSON is refused", () => {
  expect(() => manifestFromJson(Buffer.from("<!doctype html>"))).toThrow(/not JSON/);
  expect(() => manifestFromJson(Uint8Array.of(0x22, 0xff, 0x22))).toThrow(/not JSON/);
  expect(() => manifestFromJson(new Uint8Array((4 << 20) + 1))).toThrow(/4194305 bytes/);
});
