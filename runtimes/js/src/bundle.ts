/** A bundle on a server: a folder with a manifest that lists the hash and size of every other file in it. */
import { InputError, MissingError } from "./errors";
import { type Manifest, MANIFEST, manifestFromJson, MODEL } from "./manifest";

export type Bytes = Uint8Array<ArrayBuffer>;

export interface Bundle {
  /** Of the folder, with a slash at its end. */
  url: URL;
  manifest: Manifest;
  /** The model, and what it loads from other files of the bundle, by name. Size and SHA-256 were compared. */
  model: ReadonlyMap<string, Bytes>;
  /**
   * Any other file of the bundle, compared likewise.
   * @throws InputError: not listed, or not what the manifest says.
   */
  file(name: string): Promise<Bytes>;
}

/**
 * Fetches a bundle's manifest and model, and compares them before anything is run.
 *
 * That the manifest itself is the right one is what the server answers for: serve it over https.
 *
 * @param url of the folder; relative ones are relative to the page.
 * @throws InputError: no bundle there, or a file of it is not what the manifest says.
 * @throws MissingError: the page is not served securely, so that browsers give it no SHA-256.
 */
export async function loadBundle(url: string | URL): Promise<Bundle> {
  const folder = new URL(url, globalThis.location?.href);
  if (!folder.pathname.endsWith("/")) folder.pathname += "/";
  const manifest = manifestFromJson(await fetched(new URL(MANIFEST, folder)));
  if (!manifest.files[MODEL]) {
    throw new InputError(`${folder}: a bundle for ${manifest.target}, without ${MODEL}`, {
      expected: "a bundle that ONNX Runtime runs",
      fix: "hamsa-export --to web",
    });
  }
  const file = (name: string) => verified(folder, name, manifest);
  const names = Object.keys(manifest.files).filter((name) => name.startsWith(MODEL) || /^state_\d+\.bin$/.test(name));
  const contents = await Promise.all(names.map(file));
  return { url: folder, manifest, file, model: new Map(names.map((name, i) => [name, contents[i] as Bytes])) };
}

async function verified(folder: URL, name: string, manifest: Manifest): Promise<Bytes> {
  const entry = manifest.files[name];
  if (!entry) throw new InputError(`${name}: not listed in ${MANIFEST}`, { expected: "a file of the bundle" });
  const url = new URL(name.split("/").map(encodeURIComponent).join("/"), folder);
  const data = await fetched(url);
  const sha256 = await sha256Of(data);
  if (data.length !== entry.bytes || sha256 !== entry.sha256) {
    throw new InputError(`${url}: ${data.length} bytes, sha256 ${sha256}`, {
      expected: `${entry.bytes} bytes, sha256 ${entry.sha256}, as ${MANIFEST} says`,
      cause: "the file was changed, swapped or cut after the export, or a cache holds an older one",
      fix: "reload without the cache; copy the bundle again, as a whole",
    });
  }
  return data;
}

async function fetched(url: URL): Promise<Bytes> {
  let answer: Response;
  try {
    answer = await fetch(url);
  } catch (error) {
    const cause = "no server there, or one that does not allow this page to read from it";
    throw new InputError(`${url}: cannot be fetched (${(error as Error).message})`, { expected: "a bundle's file", cause });
  }
  if (!answer.ok) {
    throw new InputError(`${url}: the server answers ${answer.status} ${answer.statusText}`.trimEnd(), {
      expected: "a bundle's folder, as hamsa-export writes it",
      fix: "serve the whole folder",
    });
  }
  return new Uint8Array(await answer.arrayBuffer());
}

async function sha256Of(data: Bytes): Promise<string> {
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) {
    throw new MissingError("no SHA-256 in this page", {
      expected: "a page from https:// or from localhost",
      cause: "browsers give cryptography to secure pages only",
    });
  }
  const digest = new Uint8Array(await subtle.digest("SHA-256", data));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
