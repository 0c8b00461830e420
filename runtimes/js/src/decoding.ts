/** What only a browser decodes: JPEG and WebP, the frames of a camera, and pictures that a page has. */
import { MissingError } from "./errors";
import { unread } from "./files";
import { type Pixels, pixelsFromRgba, turned } from "./pixels";

/** A file with a picture and nothing else, and what its whole one said. */
export interface Plain {
  parts: Uint8Array[];
  type: string;
  width: number;
  height: number;
  orientation: number;
}

// Pixels as they are: no profile, no turning, no multiplying by transparency.
const AS_IT_IS: ImageBitmapOptions = { colorSpaceConversion: "none", imageOrientation: "none", premultiplyAlpha: "none" };

/** @throws InputError, of what the browser cannot decode. */
export async function decoded({ parts, type, width, height, orientation }: Plain): Promise<Pixels> {
  if (typeof createImageBitmap === "undefined") {
    throw new MissingError(`no decoder for ${type} outside of a browser`, { expected: "PNG, or pixels", fix: "convert it to PNG" });
  }
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob(parts as Uint8Array<ArrayBuffer>[], { type }), AS_IT_IS);
  } catch (error) {
    throw unread((error as Error).message);
  }
  try {
    if (bitmap.width !== width || bitmap.height !== height) throw unread("another size than the header says");
    return turned(pixelsFromSource(bitmap), orientation);
  } finally {
    bitmap.close();
  }
}

/** What a video, canvas, picture or bitmap shows, in its own size. */
export function pixelsFromSource(source: HTMLVideoElement | HTMLCanvasElement | OffscreenCanvas | ImageBitmap): Pixels {
  const [width, height] = "videoWidth" in source ? [source.videoWidth, source.videoHeight] : [source.width, source.height];
  const context = new OffscreenCanvas(width, height).getContext("2d", { alpha: false, willReadFrequently: true });
  if (!context) throw new MissingError("no 2D canvas", { expected: "a browser that draws" });
  context.drawImage(source, 0, 0);
  return pixelsFromRgba(context.getImageData(0, 0, width, height));
}
