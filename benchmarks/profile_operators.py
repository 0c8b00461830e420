"""Where an exported HAMSA-S spends its time, as the engines' own profilers see it.

    python benchmarks/profile_operators.py [--size 224] [--batch 1] [--runs 10] [--threads 2]

Two tables for each engine: by kind of operator and kernel; and by place in the model, which is the module path, with #
for the numbers of stages and blocks. Engines fuse nodes: an operator counts for the node whose name it has kept. What
an engine adds by itself (reorders between layouts and precisions) has no place. Times are means over the runs;
profiling itself costs some.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import tables
from exports import bfloat16_form, onnx_file, real_program
from measure import BF16, F32, images, onnxruntime_session, openvino_compiled, say

# Rows below this share of the time are added up in one.
SMALLEST_SHARE = 0.005
TIMES = {"ms": ".2f", "share": ".1%"}

Group = tuple[str, str]
"""What rows of a table are about: kind of operator and kernel, or module and operator."""


@dataclass(frozen=True)
class Executed:
    """One operator as executed once: the engine's names for it, and its time.

    Attributes:
        names: the operator's own name first, then those of the nodes fused into it.
        operator: what the engine calls its kind.
        kernel: the implementation and its precision.
        ms: milliseconds per run.
    """

    names: tuple[str, ...]
    operator: str
    kernel: str
    ms: float


def main() -> None:
    parser = tables.parser(__doc__, threads=2)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10)
    options, report = tables.begin(parser)
    x = images(options.size, options.batch)
    shape = f"{options.size} pixels, batch {options.batch}"
    for target in ("openvino", "onnx"):
        say(f"exporting for {target}")
        program = real_program(options.size, options.batch, target)
        with tempfile.TemporaryDirectory() as folder:
            file = onnx_file(program, Path(folder))
            modules = _modules(file)
            if target == "onnx":
                executed = _onnxruntime(file, x, options.threads, options.runs)
                _show(report, executed, modules, f"ONNX Runtime, {shape}")
                continue
            for precision in (F32, BF16):
                loaded = bfloat16_form(file) if precision == BF16 else file
                executed = _openvino(loaded, x, precision, options.threads, options.runs)
                _show(report, executed, modules, f"OpenVINO {precision}, {shape}")


def _openvino(file: Path, x: np.ndarray, precision: str, threads: int, runs: int) -> list[Executed]:
    compiled = openvino_compiled(file, x, precision, threads, profile=True)
    fused = {
        node.get_friendly_name(): node.get_rt_info()["originalLayersNames"].astype(str).split(",")
        for node in compiled.get_runtime_model().get_ordered_ops()
    }
    request = compiled.create_infer_request()
    request.infer({0: x})
    executed = []
    for _ in range(runs):
        request.infer({0: x})
        for row in request.get_profiling_info():
            if row.status == row.Status.EXECUTED:
                names = (row.node_name, *fused.get(row.node_name, ()))
                ms = row.real_time.total_seconds() * 1e3 / runs
                executed.append(Executed(names, row.node_type, row.exec_type, ms))
    return executed


def _onnxruntime(file: Path, x: np.ndarray, threads: int, runs: int) -> list[Executed]:
    session = onnxruntime_session(
        file, threads, enable_profiling=True, profile_file_prefix=str(file.with_name("profile"))
    )
    for _ in range(runs):
        session.run(None, {"images": x})
    events = json.loads(Path(session.end_profiling()).read_text())
    suffix = "_kernel_time"
    executed = []
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(suffix):
            name = event["name"].removesuffix(suffix)
            # What ONNX Runtime fuses or lays out anew is called <name>/<fusion>, or <name of the output>_nchwc.
            names = (name, name.split("/")[0], name.removesuffix("_nchwc"))
            operator, provider = event["args"]["op_name"], event["args"]["provider"]
            executed.append(Executed(names, operator, provider, event["dur"] / 1e3 / runs))
    return executed


def _modules(file: Path) -> set[str]:
    """Paths of the modules, which the names of the nodes begin with."""
    return {node.name.partition("/")[0] for node in ir.load(file).graph if node.name and "/" in node.name}


def _show(report: tables.Report, executed: Sequence[Executed], modules: Set[str], title: str) -> None:
    def place(row: Executed) -> Group:
        paths = (name.partition("/")[0] for name in row.names)
        module = next((path for path in paths if path in modules), "(added by the engine)")
        return re.sub(r"(?<=\.)\d+", "#", module) or "(model)", row.operator

    rows = _rows(executed, lambda row: (row.operator, row.kernel))
    report.show(f"{title}, by operator", {"operator": "", "kernel": "", **TIMES}, rows)
    report.show(f"{title}, by place", {"module": "", "operator": "", **TIMES}, _rows(executed, place))


def _rows(executed: Sequence[Executed], group: Callable[[Executed], Group]) -> Iterator[tables.Row]:
    totals: dict[Group, float] = defaultdict(float)
    for row in executed:
        totals[group(row)] += row.ms
    everything = sum(totals.values())
    large = {key: ms for key, ms in totals.items() if ms >= SMALLEST_SHARE * everything}
    for key, ms in sorted(large.items(), key=lambda item: -item[1]):
        yield [*key, ms, ms / everything]
    rest = everything - sum(large.values())
    yield ["everything else", "", rest, rest / everything]
    yield ["all operators", "", everything, 1.0]


if __name__ == "__main__":
    main()
