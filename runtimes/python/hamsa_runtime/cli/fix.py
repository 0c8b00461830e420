"""`hamsa-fix`: writes an ONNX file again with its DFT and STFT nodes as matrix products, and checks it. No torch.

Results go to stdout, errors to stderr. The exit codes are those of hamsa-export; --check exits with 1 where there is
something to replace, as formatters do.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hamsa_runtime.cli.parser import Parser, run_command
from hamsa_runtime.errors import InputError, MissingError, printable

if TYPE_CHECKING:
    from hamsa_runtime.dft.factorisations import Plan
    from hamsa_runtime.fix import Fixed
    from hamsa_runtime.fix.operators import Dft, Shape, Stft

DESCRIPTION = (
    "Replaces the operators DFT and STFT of an ONNX file by matrix products, which every engine computes fast and "
    "right, and compares the two. Everything else in the file stays as it is."
)
SOMETHING_TO_REPLACE = 1


def main(argv: list[str] | None = None, prog: str = "hamsa-fix") -> int:
    """Run the command; returns its exit code."""
    return run_command(parser(prog), argv, _run)


def parser(prog: str = "hamsa-fix") -> Parser:
    """Of the command's line."""
    parser = Parser(prog, DESCRIPTION)
    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="of opset 17 or later")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.onnx", help="the file to write")
    parser.add_argument("--overwrite", action="store_true", help="allow it to be MODEL.onnx itself")
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing: list what would be replaced; exits with 1 if there is something, and with 2 if that "
        "cannot be replaced",
    )
    parser.add_log_file()
    return parser


def _run(options: argparse.Namespace) -> int:
    return _check(options.model) if options.check else _fix(options)


@contextlib.contextmanager
def _packages() -> Iterator[None]:
    """What the work needs, imported within."""
    try:
        yield
    except ImportError as error:
        raise MissingError(
            f"the package {error.name or error} is not installed",
            expected="onnx and onnx-ir, which read and write the files",
            fix="pip install 'hamsa-runtime[fix]'",
        ) from error


def _check(model: Path) -> int:
    with _packages():
        from hamsa_runtime.fix import transforms_in
    found = transforms_in(model)
    if not found:
        print(f"{printable(str(model))}: no DFT, no STFT")
        return 0
    print(f"{printable(str(model))}: {_count(len(found))} can be replaced\n")
    _print_table(("node", "computes"), [(name, _described(operator)) for name, operator in found])
    return SOMETHING_TO_REPLACE


def _fix(options: argparse.Namespace) -> int:
    if options.output is None:
        raise InputError("hamsa-fix: no file to write", fix="-o repaired.onnx, or --check to write nothing")
    with _packages():
        from hamsa_runtime.fix import fix_onnx
    fixed = fix_onnx(options.model, options.output, overwrite=options.overwrite)
    name = printable(str(options.output))
    if not fixed.replaced:
        print(f"{name}: no DFT, no STFT; a copy of {printable(str(options.model))}")
        return 0
    rows = [
        (each.name, _described(each.operator), _planned(each.operator, each.plan), f"{error:.1e}")
        for each, error in zip(fixed.replaced, fixed.errors, strict=True)
    ]
    _print_table(("node", "computes", "as", "error"), rows)
    print("\nerror: of the products against numpy.fft in float64, of the largest value\n")
    for line in _summary(fixed):
        print(printable(line))
    print(
        f"{name}: {_count(len(rows))} replaced; {fixed.nodes[0]} -> {fixed.nodes[1]} nodes, "
        f"{fixed.matrix_bytes / 1e3:,.0f} kB of matrices"
    )
    return 0


def _summary(fixed: Fixed) -> Sequence[str]:
    """What running both files has shown, and what else was done."""
    whole = fixed.whole
    assert whole is not None
    lines = ["functions that had such a node are written out where they are called"] if fixed.inlined else []
    if whole.not_run:
        return [*lines, f"not compared as a whole: {whole.not_run}"]
    lines.append(f"on ONNX Runtime the outputs of both files differ by {whole.apart:.1e} of the largest value")
    if whole.original is not None:
        lines.append(
            f"against the original in float64: the original is off by {whole.original:.1e}, the new one by "
            f"{whole.repaired:.1e}"
        )
    return lines


def _described(operator: Dft | Stft) -> str:
    """`STFT of 1x?x1, 400 samples every 160, onesided`."""
    from hamsa_runtime.fix.operators import Stft

    side = ", onesided" if operator.onesided else ""
    if isinstance(operator, Stft):
        return f"STFT of {_text(operator.shape)}, {operator.length} samples every {operator.step}{side}"
    kind = "inverse DFT" if operator.inverse else "DFT"
    return f"{kind} of {_text(operator.shape)} to {operator.length} along axis {operator.axis}{side}"


def _text(shape: Shape) -> str:
    return "x".join("?" if size is None else str(size) for size in shape)


def _planned(operator: Dft | Stft, plan: Plan) -> str:
    """`25 x 16`, the lengths of the products' transforms."""
    from hamsa_runtime.fix.operators import Stft

    if plan.is_dense:
        return "1 convolution" if isinstance(operator, Stft) else "1 product"
    return plan.kind if plan.is_rader else " x ".join(map(str, plan.factors))


def _count(nodes: int) -> str:
    return f"{nodes} node{'s' * (nodes > 1)}"


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = [head, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
