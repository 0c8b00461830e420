"""`hamsa run`: a bundle on images, clips or arrays. Prints what hamsa-run, the same in C++, prints.

Results go to stdout, errors to stderr. The exit codes are those of hamsa-export.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamsa_runtime.cli.parser import Parser, run_command
from hamsa_runtime.errors import InputError, printable
from hamsa_runtime.vocabulary import MOST_SECONDS, TRIAL_SECONDS

if TYPE_CHECKING:
    from hamsa_runtime.engine import Engine
    from hamsa_runtime.manifest import Manifest

DESCRIPTION = (
    "Runs a bundle. Prints the most probable classes of each image, with their probabilities; of a model without "
    "classes, what its outputs are called, with types and shapes."
)
ARRAYS = (".npy", ".npz")


def main(argv: list[str] | None = None, prog: str = "hamsa run") -> int:
    """Run the command; returns its exit code."""
    return run_command(parser(prog), argv, _run, "interrupted")


# fmt: off
def parser(prog: str = "hamsa run") -> Parser:
    """Of the command's line."""
    parser = Parser(prog, DESCRIPTION)
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="the folder that hamsa export wrote")
    add("inputs", type=Path, nargs="+", metavar="IMAGE",
        help="a JPEG, PNG, BMP or WebP file; for a model of clips a WAV or FLAC file; or arrays saved by numpy: .npy "
             "of uint8 (H, W, C) with the channels in the order red, green, blue, or of what the model takes, .npz of "
             "several by input name")
    add("--top", type=whole, default=5, metavar="N", help="how many classes of each image (default: 5)")
    add("--save", type=Path, metavar="FOLDER",
        help="write the outputs as FOLDER/0-NAME.npy, FOLDER/1-NAME.npy and so on, and print nothing")
    add("--device", metavar="DEVICE",
        help="what runs it: CPU, GPU.1, NPU, AUTO or HETERO:GPU,CPU (OpenVINO), CUDA, TENSORRT, COREML, WEBGPU... "
             "(ONNX Runtime), GPU.1 (TensorRT); default: the CPU, for TensorRT the GPU")
    add("--threads", type=whole, metavar="N", help="CPU threads of one inference (default: as the engine chooses)")
    add("--public-key", type=Path, metavar="KEY.pub.pem", help="refuse a bundle that is not signed with this key")
    add("--timeout", type=timeout, default=TRIAL_SECONDS, metavar="SECONDS",
        help="how long the bundle may take to be loaded and run once, in a process of limited memory, before it is "
             "used; 0 for one that you trust, which is not tried, as is one with --public-key (default: "
             f"{TRIAL_SECONDS})")
    add("--json", action="store_true", help="write the results to stdout as JSON")
    parser.add_log_file()
    return parser
# fmt: on


def whole(text: str) -> int:
    """A number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def timeout(text: str) -> float:
    """Seconds, or 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to {MOST_SECONDS}")
    return value


def _run(options: argparse.Namespace) -> int:
    from hamsa_runtime.bundle import open_bundle
    from hamsa_runtime.engine import Engine
    from hamsa_runtime.trial import try_bundle

    key = options.public_key
    manifest = open_bundle(options.bundle, public_key=key).manifest
    _check_inputs(options.inputs, manifest)
    if options.save is not None:
        _make_folder(options.save)
    try_bundle(options.bundle, seconds=options.timeout, public_key=key)
    with Engine(options.bundle, device=options.device, threads=options.threads, public_key=key) as engine:
        results = []
        for number, path in enumerate(options.inputs):
            result = _result(engine, path, options.top, None if options.save is None else options.save / str(number))
            results.append(result)
            if not options.json and options.save is None:
                _show(result)
        if options.json:
            head = {"bundle": str(options.bundle), "name": manifest.name, **engine.describe()}
            print(json.dumps(head | {"results": results}, indent=2))
    return 0


def _check_inputs(paths: Sequence[Path], manifest: Manifest) -> None:
    """All that cannot be read, before the engine is loaded."""
    from hamsa_runtime.folders import is_file, is_folder
    from hamsa_runtime.images import check_images

    for path in paths:
        if is_folder(path):
            raise InputError(f"{path}: a folder", expected="files", fix=f"{path}/*.jpg, which the shell lists")
        if not is_file(path):
            raise InputError(f"{path}: no such file", expected="an image, a clip, or .npy or .npz with arrays")
    if manifest.preprocessing is not None:
        images = [path for path in paths if path.suffix.lower() not in ARRAYS]
        check_images(images, manifest.preprocessing.channels)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--save {folder}: cannot be made ({error.strerror})", expected="a folder") from error


def _result(engine: Engine, path: Path, top: int, saved: Path | None) -> dict[str, Any]:
    """Of one file: its classes, or what its outputs are."""
    import numpy as np

    given = _input_from(path)
    if saved is None and _has_classes(engine.manifest):
        rows = engine.classify(given, top)
        return {
            "input": str(path),
            "classes": [[{"label": label, "probability": p} for label, p in row] for row in rows],
        }
    outputs = engine(given)
    for name, array in outputs.items() if saved is not None else ():
        np.save(f"{saved}-{name}.npy", array)
    shapes = {name: {"dtype": str(array.dtype), "shape": list(array.shape)} for name, array in outputs.items()}
    return {"input": str(path), "outputs": shapes}


def _input_from(path: Path) -> Any:
    import numpy as np

    if path.suffix.lower() not in ARRAYS:
        return path
    try:
        found = np.load(path, allow_pickle=False)
        return dict(found) if path.suffix.lower() == ".npz" else found
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path}: cannot be read ({str(error).splitlines()[0]})", expected="numbers, as numpy.save writes them"
        ) from error


def _has_classes(manifest: Manifest) -> bool:
    """Whether an output is said to be logits: by its name, or by labels for the only one."""
    from hamsa_runtime.outputs import LOGITS, named_or_only

    names = [spec.name for spec in manifest.outputs]
    return LOGITS in names or (manifest.labels is not None and named_or_only(LOGITS, names) is not None)


def _show(result: dict[str, Any]) -> None:
    path = printable(result["input"])
    for row in result.get("classes", ()):
        print(path)
        for each in row:
            print(f"  {100 * each['probability']:6.2f} %  {printable(each['label'])}")
    if "outputs" in result:
        print(path)
        for name, found in result["outputs"].items():
            print(f"  {printable(name)}  {found['dtype']} {tuple(found['shape'])}")


if __name__ == "__main__":
    sys.exit(main())
