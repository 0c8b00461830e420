/** What Python wrote: `python -m tests.js.fixtures`. */
import { createHash } from "node:crypto";
import { type Preprocessing } from "../src";
import document from "./fixtures.json";

interface Fixtures {
  manifest: Record<string, unknown>;
  files: [string[], boolean][];
  images: { name: string; file: string; shape: number[]; colours: string; grey: string }[];
  prepared: { name: string; height: number; width: number; pixels: string; how: Preprocessing; tensor: string }[];
  clips: { name: string; file: string; samples: string }[];
}

export const FIXTURES = document as unknown as Fixtures;

export const bytes = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(Buffer.from(text, "base64"));

export const raw = (data: { buffer: ArrayBufferLike; byteOffset: number; byteLength: number }): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

export const sha256 = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");

export const named = <T extends { name: string }>(cases: T[]): [string, T][] => cases.map((each) => [each.name, each]);
