/** The same pixels as in Python, bit for bit. */
import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import { pixelsFromFile, resized, tensorFromPixels } from "../src";
import { plainJpeg } from "../src/jpeg";
import { bytes, FIXTURES, named, raw, sha256 } from "./fixtures";

describe("PNG and BMP files", () => {
  test.each(named(FIXTURES.images))("%s", async (_, { file, shape, colours, grey }) => {
    const pixels = await pixelsFromFile(bytes(file), 3);
    expect([pixels.height, pixels.width]).toEqual(shape);
    expect(sha256(raw(pixels.data))).toBe(colours);
    expect(sha256(raw((await pixelsFromFile(bytes(file), 1)).data))).toBe(grey);
  });

  const whole = bytes(FIXTURES.images[0]!.file);
  test("a wrong checksum is refused", async () => {
    const damaged = whole.slice();
    damaged[damaged.length - 20]! ^= 1;
    await expect(pixelsFromFile(damaged)).rejects.toThrow(/wrong CRC of IDAT/);
  });

  test("a file that was cut is refused", async () => {
    await expect(pixelsFromFile(whole.subarray(0, whole.length - 5))).rejects.toThrow(/truncated/);
  });

  test("more pixels than a phone has are refused by the header alone", async () => {
    const large = whole.slice();
    large.set([0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff], 16);
    new DataView(large.buffer).setUint32(29, crc32(large.subarray(12, 29)));
    await expect(pixelsFromFile(large)).rejects.toThrow(/too large to decode: 65535 x 65535 pixels/);
  });
});

describe("what a graph takes", () => {
  test.each(named(FIXTURES.prepared))("%s", (_, { height, width, pixels, how, tensor }) => {
    const found = tensorFromPixels({ height, width, channels: 3, data: bytes(pixels) }, how);
    expect(raw(found.data)).toEqual(bytes(tensor));
    const [rows, columns] = how.size;
    const shape = how.normalise === "graph" ? [1, rows, columns, how.channels] : [1, how.channels, rows, columns];
    expect(found.shape).toEqual(shape);
  });

  test("an extreme picture is refused before it is made", () => {
    const { how } = FIXTURES.prepared[0]!;
    const thin = { height: 1, width: 100_000, channels: 3 as const, data: new Uint8Array(300_000) };
    expect(() => resized(thin, { ...how, size: [4096, 4096] })).toThrow(/too large/);
  });
});

describe("what is no picture", () => {
  test.each([
    ["text", "aGVsbG8=", /known format/],
    ["nothing", "", /known format/],
    ["a JPEG without pixels", "/9j/2Q==", /no pixels/],
    ["a JPEG that was cut", "/9j/4AAQSkZJRgAB", /truncated/],
  ])("%s", async (_, file, expected) => {
    await expect(pixelsFromFile(bytes(file))).rejects.toThrow(expected);
  });

  test("a JPEG of inks is refused: decoders make other colours of them", () => {
    const frame = [0xff, 0xc0, 0, 20, 8, 0, 8, 0, 8, 4, 1, 17, 0, 2, 17, 0, 3, 17, 0, 4, 17, 0];
    expect(() => plainJpeg(Uint8Array.from([0xff, 0xd8, ...frame, 0xff, 0xd9]))).toThrow(/four inks/);
  });

  test("a JPEG outside of a browser is something missing, not something wrong", async () => {
    const frame = [0xff, 0xc0, 0, 11, 8, 0, 8, 0, 8, 1, 1, 17, 0];
    const scan = [0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 1, 2, 3];
    const file = Uint8Array.from([0xff, 0xd8, ...frame, ...scan, 0xff, 0xd9]);
    await expect(pixelsFromFile(file)).rejects.toThrow(/no decoder/);
  });
});
