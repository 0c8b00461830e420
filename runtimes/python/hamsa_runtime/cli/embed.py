"""`hamsa-embed`: a folder, a list or a table of images or clips to Parquet parts of vectors.

Progress, notes and errors go to stderr; the result goes to stdout, as a line or, with --json, as one document. The exit
codes are those of hamsa-export.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamsa_runtime.cli.parser import INTERRUPTED, Parser
from hamsa_runtime.errors import HamsaError, InputError, printable
from hamsa_runtime.interrupts import interruptible

if TYPE_CHECKING:
    from hamsa_runtime.embed import Embedded

DESCRIPTION = (
    "Embeds every image or clip of an input once, into Parquet parts in a folder. A job that was killed goes on where "
    "it was: give the same command again."
)
INPUT = (
    "a folder of images or clips, a text file with a path or URI a line, .parquet files with a column path or bytes "
    "(and id), or WebDataset .tar files; of these also a folder"
)
LINE_SECONDS = 10.0


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = argparse.Namespace(json=False)
    try:
        options = parser().options_from(argv)
        with interruptible():
            document, code = _embed(options)
    except KeyboardInterrupt:
        print("\ninterrupted; what was embedded stays, and the same command goes on", file=sys.stderr)
        return INTERRUPTED
    except HamsaError as error:
        print(f"error  {error}", file=sys.stderr)
        if options.json:
            parts = {"found": error.found, "expected": error.expected, "cause": error.cause, "fix": error.fix}
            print(json.dumps({"verdict": "error", "exit_code": error.exit_code, "error": parts}, indent=2))
        return error.exit_code
    if options.json:
        print(json.dumps(document, indent=2))
    return code


def parser() -> Parser:
    """Of the command's line; `parser().options_from(argv)` reads one."""
    parser = Parser("hamsa-embed", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle's folder")
    parser.add_argument("input", type=Path, metavar="INPUT", help=INPUT)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="a folder for this job alone")
    parser.add_argument("--dtype", default="float32", help="of the vectors: float32 (the default) or float16")
    parser.add_argument("--label", action="store_true", help="also the most probable label, and its probability")
    parser.add_argument("--rows", type=int, default=10_000, help="of a part, at most (default: 10000)")
    parser.add_argument(
        "--worker", type=_worker, default=(0, 1), metavar="K/N", help="take each N-th part, from the K-th"
    )
    parser.add_argument("--backend", help="the engine, instead of the bundle's own")
    parser.add_argument("--device", help="what it runs on")
    parser.add_argument("--threads", type=int, help="CPU threads for an inference")
    parser.add_argument(
        "--public-key", type=Path, metavar="KEY.pub.pem", help="refuse a bundle that is not signed with this key"
    )
    parser.add_argument("--json", action="store_true", help="write the result to stdout as JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors (and what --json asks for)")
    return parser


def _worker(text: str) -> tuple[int, int]:
    k, slash, n = text.partition("/")
    if not (slash and k.isdecimal() and n.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N, such as 3/200")
    return int(k), int(n)


def _embed(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    from hamsa_runtime.embed import embed

    progress = _Progress(sys.stderr, shown=not options.quiet)
    try:
        found = embed(
            options.bundle,
            options.input,
            options.output,
            dtype=options.dtype,
            label=options.label,
            rows=options.rows,
            worker=options.worker,
            report=progress,
            backend=options.backend,
            device=options.device,
            threads=options.threads,
            public_key=options.public_key,
        )
    finally:
        progress.clear()
    code = _told(found, quiet=options.quiet or options.json)
    return _document(found, code), code


def _told(found: Embedded, *, quiet: bool) -> int:
    """Prints the summary; returns the exit code."""
    if found.failed:
        reason = f", the first now: {found.first_failure.partition(chr(10))[0]}" if found.first_failure else ""
        print(f"note  {found.failed} rows failed{printable(reason)}", file=sys.stderr)
    if found.elsewhere:
        print(f"note  {found.elsewhere} parts are in work by another process", file=sys.stderr)
    if not quiet:
        print(
            f"{printable(str(found.output))}: {found.rows} rows in {found.done} of {found.shards} parts; "
            f"{found.rows_now} now, in {found.seconds:.1f} s"
        )
    for error in found.unreadable.values():
        print(f"error  {error}", file=sys.stderr)
    if found.rows and found.failed == found.rows:
        print("error  every row failed", file=sys.stderr)
    return InputError.exit_code if found.unreadable or (found.rows and found.failed == found.rows) else 0


def _document(found: Embedded, code: int) -> dict[str, Any]:
    return {
        "verdict": "complete" if found.is_complete else "incomplete",
        "exit_code": code,
        "output": str(found.output),
        "fingerprint": found.fingerprint,
        "parts": {"all": found.shards, "done": found.done, "elsewhere": found.elsewhere},
        "rows": {"done": found.rows, "failed": found.failed, "now": found.rows_now},
        "seconds": found.seconds,
        "rows_per_second": found.rows_now / found.seconds if found.seconds else 0.0,
        "shares": _shares(found),
        "unreadable": {name: error.found for name, error in found.unreadable.items()},
    }


def _shares(found: Embedded) -> dict[str, float]:
    """Of the time that decoding, inference and writing took, those of all threads together."""
    times = {"decoding": found.decoding, "inference": found.inference, "writing": found.writing}
    total = sum(times.values())
    return {name: seconds / total if total else 0.0 for name, seconds in times.items()}


class _Progress:
    """One line that is written over where there is a terminal; elsewhere a line now and then."""

    def __init__(self, stream: Any, *, shown: bool) -> None:
        self._stream, self._shown = stream, shown
        self._is_terminal = bool(stream.isatty())
        self._last = time.monotonic()

    def __call__(self, found: Embedded) -> None:
        now = time.monotonic()
        if not self._shown or now - self._last < (0.2 if self._is_terminal else LINE_SECONDS):
            return
        self._last = now
        shares = ", ".join(f"{name} {share:.0%}" for name, share in _shares(found).items())
        rate = found.rows_now / found.seconds if found.seconds else 0.0
        line = f"part {found.done} of {found.shards}  {found.rows_now} rows, {rate:.0f}/s  {shares}"
        self._stream.write(f"\r\033[K{line}" if self._is_terminal else f"{line}\n")
        self._stream.flush()

    def clear(self) -> None:
        if self._shown and self._is_terminal:
            self._stream.write("\r\033[K")


if __name__ == "__main__":
    sys.exit(main())
