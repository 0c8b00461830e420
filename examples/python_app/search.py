"""A small image search: embeds a folder, and finds the images that are most like another one.

$ python search.py index BUNDLE FOLDER -o index/
$ python search.py query index/ IMAGE --top 5

What hamsa-embed wrote is searched without an index of its own, and says what shorter vectors would lose:

$ python search.py query embedded/ IMAGE --bundle BUNDLE --size 64 --page nearest.html
$ python search.py recall embedded/
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from pathlib import Path

from embedded import JOB, NEIGHBOURS, Embedded, recalls
from embedding import Identity, embeddings, identity_of, images_below
from image_index import FILE, ImageIndex, writing
from page import page_of

from hamsa_runtime import Engine, HamsaError, InputError


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parser().parse_args(argv)
    try:
        if options.command == "index":
            index_folder(options.bundle, options.folder, options.output)
        elif options.command == "recall":
            recall(options.embedded, options.queries)
        else:
            query(options.index, options.image, options.top, options.size, options.bundle, options.page)
    except HamsaError as error:
        print(f"error  {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error  {error}; the index is as it was", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description="Image search with a hamsa-deploy bundle.")
    commands = top.add_subparsers(dest="command", required=True)
    index = commands.add_parser("index", help="embed the images of a folder: those that are new or changed")
    index.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle's folder")
    index.add_argument("folder", type=Path, metavar="FOLDER", help="images, in subfolders as well")
    index.add_argument("-o", "--output", type=Path, required=True, metavar="INDEX", help="a new or an older index")
    query = commands.add_parser("query", help="find the images that are most like another one")
    query.add_argument("index", type=Path, metavar="INDEX", help="an index, or what hamsa-embed wrote")
    query.add_argument("image", type=Path, metavar="IMAGE")
    query.add_argument("--top", type=positive, default=5, metavar="N", help="how many (default: 5)")
    query.add_argument("--size", type=positive, metavar="K", help="compare the first K numbers of each vector only")
    query.add_argument("--page", type=Path, metavar="HTML", help="write them with pictures to this file as well")
    query.add_argument("--bundle", type=Path, help="where the bundle is now, if it was moved")
    recall = commands.add_parser("recall", help="what shorter vectors of what hamsa-embed wrote would lose")
    recall.add_argument("embedded", type=Path, metavar="EMBEDDED", help="the folder of its parts")
    recall.add_argument("--queries", type=positive, default=1000, metavar="N", help="images asked (default: 1000)")
    return top


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def index_folder(bundle: Path, folder: Path, output: Path) -> None:
    """Makes the index hold the images of a folder as they are now, beside those of other folders.

    Raises:
        InputError: no image can be read, or the index is one of another bundle. The index stays as it was.
    """
    hashes = {path: sha256_of(path) for path in images_below(folder)}
    started = time.perf_counter()
    with Engine(bundle) as engine, writing(output):
        index = opened(output, engine)
        here = [Path(path) for path in index.entries if Path(path).is_relative_to(folder.resolve())]
        gone = [path for path in here if path not in hashes]
        for path in gone:
            index.remove(path)
        changed = [path for path in hashes if not index.has(path, hashes[path])]
        skipped = embed(engine, changed, hashes, index)
        if len(skipped) == len(hashes):
            raise InputError(f"{folder}: none of {len(hashes)} images can be read", cause=skipped[0].found)
        index.save(output)
    print(
        f"{output}: {len(index.entries)} images of {index.bundle}\n"
        f"{len(changed) - len(skipped)} embedded, {len(hashes) - len(changed)} as they were, {len(gone)} gone, "
        f"{len(skipped)} skipped, in {time.perf_counter() - started:.1f} s"
    )


def sha256_of(path: Path) -> str:
    """Of the file's bytes; empty if it cannot be read, which the engine will tell as well."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def opened(output: Path, engine: Engine) -> ImageIndex:
    """The index in `output`, or a new one."""
    bundle = identity_of(engine)
    if not (output / FILE).exists():
        [width] = [spec.shape[-1] for spec in engine.manifest.outputs if spec.name == "embedding"]
        return ImageIndex.empty(bundle, engine.folder.resolve(), int(width))
    index = ImageIndex.load(output)
    check_bundle(output, index, bundle)
    return index


def check_bundle(path: Path, index: ImageIndex | Embedded, bundle: Identity) -> None:
    if bundle.manifest != index.bundle.manifest:
        raise InputError(
            f"{path}: an index of another bundle: {index.bundle}, and this is {bundle}",
            expected="vectors of one model",
            cause="the model was exported again, or another bundle was given",
            fix="make a new index with this bundle: search.py index BUNDLE FOLDER -o ANOTHER_INDEX",
        )


def embed(engine: Engine, paths: list[Path], hashes: dict[Path, str], index: ImageIndex) -> list[InputError]:
    """Adds images to the index; those that cannot be read are removed from it, listed and returned."""
    skipped = []
    for path, vector in embeddings(engine, paths):
        if isinstance(vector, InputError):
            print(f"skipped  {vector.found}", file=sys.stderr)
            skipped.append(vector)
            index.remove(path)
        else:
            index.add(path, hashes[path], vector)
    return skipped


def query(folder: Path, image: Path, top: int, size: int | None, bundle: Path | None, page: Path | None) -> None:
    """Prints cosine similarity and path of the `top` images that are most like `image`."""
    index = searchable(folder, size)
    bundle = bundle or index.folder
    if bundle is None:
        raise InputError(f"{folder}: does not say where its bundle is", fix="--bundle says it")
    if not bundle.is_dir():
        raise InputError(f"{bundle}: no such bundle", cause="it was moved", fix="--bundle says where it is now")
    with Engine(bundle) as engine:
        check_bundle(folder, index, identity_of(engine))
        [vector] = engine.embed(image)
    found = index.nearest(vector, top)
    for similarity, path in found:
        print(f"{similarity:.4f}  {path}")
    if page is not None:
        page.write_text(page_of(image, found, f"The {len(found)} nearest of {len(index)} images, by {index.bundle}"))


def searchable(folder: Path, size: int | None) -> ImageIndex | Embedded:
    """An index, or what hamsa-embed wrote."""
    if (folder / JOB).is_file():
        return Embedded(folder, size)
    if size is not None:
        raise InputError(
            f"--size {size}, and {folder} is not what hamsa-embed wrote",
            expected=f"a folder with {JOB}: an index of this program keeps whole vectors, of length 1",
        )
    return ImageIndex.load(folder)


def recall(folder: Path, queries: int) -> None:
    """Prints, for each size, which part of the ten nearest images by the whole vectors are found by its start alone."""
    print(f"{'size':>5}  bytes in fp16  recall@{NEIGHBOURS}")
    for size, part in recalls(folder, queries):
        print(f"{size:>5}  {2 * size:>13}  {part:>9.1%}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
