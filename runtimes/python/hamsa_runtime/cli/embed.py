"""`hamsa-embed`: a folder, a list or a table of images or clips to Parquet parts of vectors.

Progress, notes and errors go to stderr; the result goes to stdout, as a line or, with --json, as one document. The exit
codes are those of hamsa-export.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamsa_runtime.cli.parser import Parser, run_command
from hamsa_runtime.errors import InputError, ParityError, printable

if TYPE_CHECKING:
    from hamsa_runtime.embed import Embedded, Verified

DESCRIPTION = (
    "Embeds every image or clip of an input once, into Parquet parts in a folder. A job that was killed goes on where "
    "it was: give the same command again."
)
INPUT = (
    "a folder of images or clips, a text file with a path or URI a line, .parquet files with a column path or bytes "
    "(and id), or WebDataset .tar files; of these also a folder"
)
LINE_SECONDS = 10.0


def main(argv: list[str] | None = None, prog: str = "hamsa-embed") -> int:
    """Run the command; returns its exit code."""
    interrupted = "\ninterrupted; what was embedded stays, and the same command goes on"
    return run_command(parser(prog), argv, _run, interrupted)


def _run(options: argparse.Namespace) -> int:
    document, code = _embed(options)
    if options.json:
        print(json.dumps(document, indent=2))
    return code


def parser(prog: str = "hamsa-embed") -> Parser:
    """Of the command's line; `parser().options_from(argv)` reads one."""
    parser = Parser(prog, DESCRIPTION)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle's folder")
    parser.add_argument("input", type=Path, metavar="INPUT", help=INPUT)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="a folder for this job alone")
    parser.add_argument("--dtype", default="float32", help="of the vectors: float32 (the default) or float16")
    parser.add_argument("--label", action="store_true", help="also the most probable label, and its probability")
    parser.add_argument("--rows", type=int, default=10_000, help="of a part, at most (default: 10000)")
    parser.add_argument(
        "--worker", type=_worker, default=(0, 1), metavar="K/N", help="take each N-th part, from the K-th"
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="on the machines of a Ray cluster, an engine to a processor: of its address, or auto for the one of this "
        "machine, or a new one that ends with the job. Give it last, or as --ray=ADDRESS",
    )
    parser.add_argument("--retry-failed", action="store_true", help="also embed rows again that failed")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="embed nothing: count the ids of the output, and embed a sample of its rows again; exits with 3 if "
        "something is wrong",
    )
    parser.add_argument("--backend", help="the engine, instead of the bundle's own")
    parser.add_argument("--device", help="what it runs on")
    parser.add_argument("--threads", type=int, help="CPU threads for an inference")
    parser.add_argument(
        "--public-key", type=Path, metavar="KEY.pub.pem", help="refuse a bundle that is not signed with this key"
    )
    parser.add_argument("--json", action="store_true", help="write the result to stdout as JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors (and what --json asks for)")
    parser.add_log_file()
    return parser


def _worker(text: str) -> tuple[int, int]:
    k, slash, n = text.partition("/")
    if not (slash and k.isdecimal() and n.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N, such as 3/200")
    return int(k), int(n)


def _embed(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    from hamsa_runtime.embed import verify

    names = ("dtype", "label", "rows", "backend", "device", "threads", "public_key")
    arguments = {name: getattr(options, name) for name in names}
    if options.verify:
        verified = verify(options.bundle, options.input, options.output, **arguments)
        return _verified(verified, quiet=options.quiet or options.json)
    progress = _Progress(sys.stderr, shown=not options.quiet)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Ray prints what befalls its machines
            found = _embedder(options)(
                options.bundle,
                options.input,
                options.output,
                retry_failed=options.retry_failed,
                report=progress,
                **arguments,
            )
    finally:
        progress.clear()
    code = _told(found, quiet=options.quiet or options.json)
    return _document(found, code), code


def _embedder(options: argparse.Namespace) -> Callable[..., Embedded]:
    """What embeds: this process, or a cluster."""
    from hamsa_runtime.embed import embed

    if options.ray is None:
        return functools.partial(embed, worker=options.worker)
    if options.worker != (0, 1):
        raise InputError("--worker and --ray", expected="one of them", cause="Ray gives out the parts by itself")
    from hamsa_runtime.ray import embed_on_ray

    return functools.partial(embed_on_ray, address=options.ray)


def _told(found: Embedded, *, quiet: bool) -> int:
    """Prints the summary; returns the exit code."""
    if found.failed:
        reason = f", the first now: {found.first_failure.partition(chr(10))[0]}" if found.first_failure else ""
        print(f"note  {found.failed} rows failed{printable(reason)}", file=sys.stderr)
    if found.elsewhere:
        print(f"note  {found.elsewhere} parts are in work by another process", file=sys.stderr)
    if not quiet:
        rate = f", {found.rate:.0f} a second" if found.rows_now else ""
        print(
            f"{printable(str(found.output))}: {found.rows} rows in {found.done} of {found.shards} parts; "
            f"{found.rows_now} now, in {found.seconds:.1f} s{rate}"
        )
        print(f"energy   {_energy(found)}")
    for error in found.unreadable.values():
        print(f"error  {error}", file=sys.stderr)
    all_failed = found.rows > 0 and found.failed == found.rows
    if all_failed:
        print("error  every row failed", file=sys.stderr)
    return InputError.exit_code if found.unreadable or all_failed else 0


def _energy(found: Embedded) -> str:
    if found.joules is None or not found.rows_now:
        return f"unknown ({found.meter.removeprefix('left out: ')})" if found.joules is None else "nothing was embedded"
    return f"{found.joules / found.rows_now / 3.6:.3g} kWh for a million ({found.meter})"


def _document(found: Embedded, code: int) -> dict[str, Any]:
    million = found.joules / found.rows_now * 1e6 if found.joules is not None and found.rows_now else None
    return {
        "verdict": "complete" if found.is_complete else "incomplete",
        "exit_code": code,
        "output": str(found.output),
        "fingerprint": found.fingerprint,
        "parts": {"all": found.shards, "done": found.done, "elsewhere": found.elsewhere},
        "rows": {"done": found.rows, "failed": found.failed, "now": found.rows_now},
        "seconds": found.seconds,
        "rows_per_second": found.rate,
        "shares": found.shares,
        "energy": {"meter": found.meter, "joules_per_million_rows": million},
        "unreadable": {name: error.found for name, error in found.unreadable.items()},
    }


def _verified(found: Verified, *, quiet: bool) -> tuple[dict[str, Any], int]:
    for sentence in found.wrong:
        print(f"error  {printable(sentence)}", file=sys.stderr)
    if not quiet and not found.wrong:
        judged = ", ".join(f"{name} {limit:g}" for name, limit in found.limits.items()) or "the bundle has no limits"
        print(f"{printable(str(found.output))}: {found.rows} rows, each once; {found.failed} of them failed")
        print(
            f"{found.sampled} embedded again: relative error {found.relative_error:.1e}, cosine {found.cosine:.7f} "
            f"(limits: {judged})"
        )
    code = ParityError.exit_code if found.wrong else 0
    return {
        "verdict": "wrong" if found.wrong else "whole",
        "exit_code": code,
        "output": str(found.output),
        "fingerprint": found.fingerprint,
        "wrong": found.wrong,
        "rows": {"done": found.rows, "failed": found.failed},
        "sample": {
            "rows": found.sampled,
            "max_relative_error": found.relative_error,
            "cosine": found.cosine,
            "limits": dict(found.limits),
        },
    }, code


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
        self._stream.write(f"\r\033[K{_line(found)}" if self._is_terminal else f"{_line(found)}\n")
        self._stream.flush()

    def clear(self) -> None:
        if self._shown and self._is_terminal:
            self._stream.write("\r\033[K")


def _line(found: Embedded) -> str:
    """`12,800 of 200,000 rows, 642/s, 4m52s left; decoding 62 %, inference 37 %, writing 1 %; 3 failed`."""
    total = "" if found.total is None else f" of {found.total:,}"
    left = "" if found.seconds_left is None else f", {_duration(found.seconds_left)} left"
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.shares.items())
    failed = f"; {found.failed_now:,} failed" if found.failed_now else ""
    return f"{found.seen:,}{total} rows, {found.rate:.0f}/s{left}; {shares}{failed}"


def _duration(seconds: float) -> str:
    """4m52s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


if __name__ == "__main__":
    sys.exit(main())
