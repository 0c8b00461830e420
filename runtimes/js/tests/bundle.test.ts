/** A bundle is what its manifest says, or is not loaded. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Engine, labelsOf, loadBundle, type Manifest, numbersOf } from "../src";
import { arraysFrom } from "../src/sample";
import { FIXTURES, sha256 } from "./fixtures";

const encoder = new TextEncoder();
const MODEL = encoder.encode("a graph");
let served: Record<string, Uint8Array<ArrayBuffer>>;

function serve(files: Record<string, Uint8Array<ArrayBuffer>>): void {
  const entries = Object.entries(files).map(([name, data]) => [name, { sha256: sha256(data), bytes: data.length }]);
  const manifest = { ...FIXTURES.manifest, files: Object.fromEntries(entries) };
  served = { ...files, "manifest.json": encoder.encode(JSON.stringify(manifest)) };
}

beforeEach(() => {
  serve({ "model.onnx": MODEL, "other.bin": MODEL });
  vi.stubGlobal("fetch", async (url: URL) => {
    const found = served[decodeURIComponent(url.pathname.replace("/bundle/", ""))];
    return found ? new Response(found) : new Response("no", { status: 404, statusText: "Not Found" });
  });
});
afterEach(() => vi.unstubAllGlobals());

test("the model is there, and another file when it is asked for", async () => {
  const bundle = await loadBundle("https://example.org/bundle");
  expect(bundle.url.href).toBe("https://example.org/bundle/");
  expect([...bundle.model.keys()]).toEqual(["model.onnx"]);
  expect(await bundle.file("other.bin")).toEqual(MODEL);
  await expect(bundle.file("manifest.json")).rejects.toThrow(/not listed/);
});

test.each([
  ["changed", encoder.encode("a grapH"), /sha256 [0-9a-f]{64}\n {2}expected: 7 bytes, sha256 /],
  ["cut", encoder.encode("a gra"), /5 bytes/],
])("a model that was %s is refused", async (_, data, expected) => {
  served["model.onnx"] = data;
  await expect(loadBundle("https://example.org/bundle/")).rejects.toThrow(expected);
});

test("what is not there is said with the server's answer", async () => {
  delete served["model.onnx"];
  await expect(loadBundle("https://example.org/bundle/")).rejects.toThrow(/model.onnx: the server answers 404 Not Found/);
  served = {};
  await expect(loadBundle("https://example.org/bundle/")).rejects.toThrow(/manifest.json: the server answers 404/);
});

test("a bundle for another engine is refused by name", async () => {
  serve({ "model.xml": MODEL });
  await expect(loadBundle("https://example.org/bundle/")).rejects.toThrow(/without model.onnx[^]*--to web/);
});

test("what is missing is said, and nothing else used", async () => {
  const bundle = await loadBundle("https://example.org/bundle/");
  vi.stubGlobal("navigator", {});
  await expect(Engine.open(bundle, { device: "webgpu" })).rejects.toThrow(/WebGPU is not in this browser[^]*device "wasm"/);
  vi.stubGlobal("navigator", { gpu: { requestAdapter: async () => null } });
  await expect(Engine.open(bundle, { device: "webgpu" })).rejects.toThrow(/finds no graphics card/);
  await expect(Engine.open(bundle, { threads: 2 })).rejects.toThrow(/not cross-origin isolated/);
  vi.stubGlobal("crypto", {});
  await expect(loadBundle("https://example.org/bundle/")).rejects.toThrow(/no SHA-256/);
});

test("labels are the softmax of the logits, best first", () => {
  const manifest = { labels: ["a", "b", "c"] } as Manifest;
  const tensor = (shape: number[], ...values: number[]) => ({ dtype: "float32" as const, shape, data: Float32Array.from(values) });
  const found = labelsOf({ logits: tensor([1, 3], 1000, 1002, 1001), other: tensor([1], 0) }, manifest, 2)!;
  expect(found.map(({ name }) => name)).toEqual(["b", "c"]);
  expect(found[0]!.probability).toBeCloseTo(1 / (1 + Math.exp(-1) + Math.exp(-2)), 12);
  expect(labelsOf({ y: tensor([1, 3], 1, 2, 3) }, manifest)).toHaveLength(3);
  expect(labelsOf({ y: tensor([1, 4], 1, 2, 3, 4) }, manifest)).toBeUndefined(); // other classes than labels
  expect(labelsOf({ y: tensor([3], 1, 2, 3) }, manifest)).toBeUndefined();
});

test("a safetensors file gives its arrays", () => {
  const header = encoder.encode('{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"n":{"dtype":"I64","shape":[],"data_offsets":[8,16]}}');
  const data = new Uint8Array(8 + header.length + 16);
  new DataView(data.buffer).setBigUint64(0, BigInt(header.length), true);
  data.set(header, 8);
  const values = new DataView(data.buffer, 8 + header.length);
  values.setFloat32(4, 1.5, true);
  values.setBigInt64(8, -3n, true);
  const { x, n } = arraysFrom(data);
  expect([[...x!.data], n!.shape, [...n!.data]]).toEqual([[0, 1.5], [], [-3n]]);
});

test("float16 is bits, and numbers where they are compared", () => {
  const bits = [0, 0x8000, 0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x7e00, 0x3555];
  const found = numbersOf({ dtype: "float16", shape: [bits.length], data: Uint16Array.from(bits) });
  expect(Array.from(found)).toEqual([0, -0, 1, -2, 2 ** -24, 65504, Infinity, NaN, 0.333251953125]);
});
