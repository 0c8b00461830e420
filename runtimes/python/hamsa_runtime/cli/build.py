"""`hamsa-build`: builds the TensorRT plan of a bundle on the device that is to run it, and keeps it there.

Results go to stdout; progress, notes and errors go to stderr. The exit codes are those of hamsa-export.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamsa_runtime.cli.parser import Parser, run_command
from hamsa_runtime.errors import printable

if TYPE_CHECKING:
    from hamsa_runtime.manifest import Manifest
    from hamsa_runtime.tensorrt.cache import Cached

DESCRIPTION = (
    "Builds the TensorRT plan of a bundle on this device, and keeps it in a cache, where the runtime finds it. "
    "Does nothing if it is there already, for this TensorRT and this GPU."
)


def main(argv: list[str] | None = None, prog: str = "hamsa-build") -> int:
    """Run the command; returns its exit code."""
    return run_command(parser(prog), argv, _run)


def _run(options: argparse.Namespace) -> int:
    document = _build(options)
    if options.json:
        print(json.dumps(document, indent=2))
    elif not options.quiet:
        _show(document)
    return 0


def parser(prog: str = "hamsa-build") -> Parser:
    """Of the command's line; `parser().options_from(argv)` reads one."""
    parser = Parser(prog, DESCRIPTION)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle's folder")
    parser.add_argument("--gpu", type=int, default=0, metavar="N", help="which GPU, as CUDA counts them (default: 0)")
    parser.add_argument(
        "--workspace", type=int, metavar="MIB", help="largest scratch memory of the builder, instead of the bundle's"
    )
    parser.add_argument(
        "--public-key", type=Path, metavar="KEY.pub.pem", help="refuse a bundle that is not signed with this key"
    )
    parser.add_argument("--rebuild", action="store_true", help="build it even if it is there")
    parser.add_argument("--json", action="store_true", help="write the result to stdout as JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors (and what --json asks for)")
    parser.add_log_file()
    return parser


def _build(options: Any) -> dict[str, Any]:
    from hamsa_runtime.bundle import open_bundle
    from hamsa_runtime.tensorrt.engine_files import plan_of_bundle, source_of
    from hamsa_runtime.tensorrt.gpu import gpu_to_build_for
    from hamsa_runtime.tensorrt.modules import load

    bundle = open_bundle(options.bundle, public_key=options.public_key)
    bundle.verify()
    source_of(bundle)  # fail early
    trt = load(bundle.manifest.target)
    gpu = gpu_to_build_for(trt, options.gpu)
    progress = _Progress(sys.stderr, shown=not options.quiet)
    notes = _Notes(progress)
    logging.getLogger("hamsa_runtime").addHandler(notes)
    try:
        found = plan_of_bundle(
            trt, bundle, gpu, workspace_mib=options.workspace, rebuild=options.rebuild, report=progress
        )
    finally:
        progress.clear()
        logging.getLogger("hamsa_runtime").removeHandler(notes)
    return _document(bundle.manifest, found) | {"notes": notes.lines}


def _document(manifest: Manifest, found: Cached) -> dict[str, Any]:
    identity = found.entry["identity"]
    return {
        "verdict": "built" if found.built else "found",
        "name": manifest.name,
        "target": manifest.target,
        "precision": manifest.precision,
        "module": identity["module"],
        "version": identity["version"],
        "gpu": identity["gpu"],
        "compute_capability": identity["compute_capability"],
        "plan": None if found.path is None else str(found.path),
        "bytes": len(found.plan),
        "seconds": found.entry["seconds"],
        "asked": found.entry["asked"],
        "achieved": found.entry["achieved"],
    }


def _show(document: Mapping[str, Any]) -> None:
    from hamsa_runtime.tensorrt.achieved import fallen_text

    where = f" for {document['gpu']} ({document['compute_capability']})" if document["gpu"] else ""
    verb = f"built in {document['seconds']:.1f} s" if document["verdict"] == "built" else "is there already"
    achieved = document["achieved"]
    print(f"{document['name']}, {document['precision']}: plan {verb}, {document['bytes'] / 1e6:.1f} MB")
    print(f"by       {document['module']} {document['version']}{where}")
    print(f"asked    {_in_words(document['asked'])} nodes")
    if achieved is not None:
        print(f"layers   {_in_words(achieved['layers'])}; {achieved['fused']} do the work of several nodes")
    if achieved is not None and achieved["fell_back"]:
        print(f"note  {fallen_text(achieved['fell_back'])}", file=sys.stderr)
    print(f"in       {printable(document['plan'] or '') or 'nowhere: it could not be kept'}")


def _in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


class _Progress:
    """One line that is written over where there is a terminal; elsewhere a line when the phase changes."""

    def __init__(self, stream: Any, *, shown: bool) -> None:
        self._stream, self._shown = stream, shown
        self._is_terminal = bool(stream.isatty())
        self._phase = ""

    def __call__(self, phase: str, done: float | None, seconds: float) -> None:
        if not self._shown:
            return
        if self._is_terminal:
            share = "" if done is None else f"{done:4.0%}"
            self._stream.write(f"\r\033[K{seconds:7.1f} s  {phase[:60]} {share}")
            self._stream.flush()
        elif phase != self._phase:
            self._stream.write(f"{seconds:7.1f} s  {phase}\n")
        self._phase = phase

    def clear(self) -> None:
        if self._shown and self._is_terminal and self._phase:
            self._stream.write("\r\033[K")


class _Notes(logging.Handler):
    """Warnings of the runtime, shown and kept."""

    def __init__(self, progress: _Progress) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self._progress.clear()
        print(f"note  {record.getMessage()}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
