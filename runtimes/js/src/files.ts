/** What readers of files have in common: their errors, and how large a picture may be. */
import { InputError } from "./errors";
import { MOST_PIXELS } from "./pixels";

/** The error for a file that is damaged, or of a kind that is not read. */
export const unread = (found: string, expected = "a whole image file"): InputError =>
  new InputError(`the image cannot be read (${found})`, { expected });

export const truncated = (): InputError => unread("image file is truncated");

/** As a file's header says it. */
export function checkSize(width: number, height: number, most = MOST_PIXELS): void {
  if (!(width > 0 && width < 2 ** 31 && height > 0 && height < 2 ** 31)) throw unread(`${width} x ${height} pixels`);
  if (width * height > most) {
    throw new InputError(`too large to decode: ${width} x ${height} pixels`, {
      expected: `at most ${most} pixels`,
      cause: "a decompression bomb, an extreme aspect ratio, or a panorama",
      fix: "scale it down first",
    });
  }
}
