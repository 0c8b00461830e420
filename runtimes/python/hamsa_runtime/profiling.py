"""Where the time of an inference goes: stages around the engine, and the engine's own times of its operators."""

from __future__ import annotations

import functools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hamsa_runtime.backends import Timed, module_of_node
from hamsa_runtime.batches import Arrays, zeros
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.preprocess import Images, decoded, inputs_from_images

T = TypeVar("T")

LARGEST = 15
WIDTH = 60


@dataclass(frozen=True)
class OperatorTime:
    """One operator of the engine.

    Attributes:
        kind, precision, names: see `hamsa_runtime.backends.Operator`.
        module: path in the user's model, such as "stages.0.blocks.1.mixer"; "" where the engine's names do not tell:
            IR bundles for OpenVINO hold none, ONNX files and what is built from them do.
        milliseconds: median of the runs.
    """

    kind: str
    precision: str
    names: tuple[str, ...]
    module: str
    milliseconds: float


@dataclass(frozen=True)
class Profile:
    """What `Engine.profile` measured; `print` shows it as tables.

    Attributes:
        engine: what ran, as `Engine.describe` has it.
        images: how many one run took.
        runs: how many of them were measured.
        stages: median milliseconds of "decode" (files to pixels), "preprocess" (to the graph's input) and "infer" (the
            engine as it is used, without its profiler), for all images of a run together; only what took place.
        operators: the engine's own times in a second copy of the model, in which it measures: that costs some, so the
            sum is not "infer".
    """

    engine: Mapping[str, str]
    images: int
    runs: int
    stages: Mapping[str, float]
    operators: Sequence[OperatorTime]

    def by_module(self) -> dict[str, float]:
        """Milliseconds for each module path, largest first; "" is what no module is known of."""
        return _summed((each.module, each.milliseconds) for each in self.operators)

    def by_kind(self) -> dict[str, float]:
        """Milliseconds for each kind of operator and its precision, largest first."""
        return _summed((f"{each.kind} {each.precision}", each.milliseconds) for each in self.operators)

    def __str__(self) -> str:
        engine = ", ".join(self.engine[key] for key in ("backend", "version", "device", "precision"))
        lines = [f"{engine}; images: {self.images}, median of {self.runs} runs"]
        lines += _table("stage", self.stages)
        modules = self.by_module()
        if set(modules) - {""}:
            lines += _table("module", {name or "(not known)": ms for name, ms in modules.items()})
        lines += _table("kind of operator", self.by_kind())
        return "\n".join(lines)


def stages_and_inputs(
    images: Images | None, manifest: Manifest, infer: Callable[[Arrays], object], runs: int
) -> tuple[dict[str, float], Arrays]:
    """Median milliseconds of each stage, see `Profile`, after one run that is not measured; and what was inferred.

    Args:
        images: as the engine takes them; None for one of zeros.
        manifest: of the bundle.
        infer: runs prepared inputs.
        runs: to be measured.
    """
    rows: list[dict[str, float]] = []
    for _ in range(1 + runs):
        rows.append({})
        inputs = zeros(manifest, 1) if images is None else _prepared(images, manifest, rows[-1])
        _timed(rows[-1], "infer", functools.partial(infer, inputs))
    return {name: statistics.median(row[name] for row in rows[1:]) for name in rows[0]}, inputs


def operator_times(timed: Iterable[Timed]) -> list[OperatorTime]:
    """The operators with the modules that they belong to, slowest first."""
    rows = [OperatorTime(*each.operator, _module_of(each.operator.names), each.milliseconds) for each in timed]
    return sorted(rows, key=lambda row: -row.milliseconds)


def _prepared(images: Images, manifest: Manifest, times: dict[str, float]) -> Arrays:
    if manifest.preprocessing is not None:
        images = _timed(times, "decode", lambda: decoded(images, manifest))
    return _timed(times, "preprocess", lambda: inputs_from_images(images, manifest))


def _timed(times: dict[str, float], name: str, work: Callable[[], T]) -> T:
    start = time.perf_counter()
    result = work()
    times[name] = 1e3 * (time.perf_counter() - start)
    return result


def _module_of(names: Iterable[str]) -> str:
    """Of the first name that tells."""
    return next(filter(None, map(module_of_node, names)), "")


def _summed(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    totals: dict[str, float] = defaultdict(float)
    for name, milliseconds in pairs:
        totals[name] += milliseconds
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def _table(title: str, rows: Mapping[str, float]) -> list[str]:
    total = sum(rows.values()) or 1.0
    shown = list(rows.items())[:LARGEST]
    lines = ["", f"{title:{WIDTH}} {'ms':>9} {'share':>6}"]
    lines += [f"{name[:WIDTH]:{WIDTH}} {ms:9.3f} {ms / total:6.1%}" for name, ms in shown]
    if rest := len(rows) - len(shown):
        ms = sum(rows.values()) - sum(ms for _, ms in shown)
        lines.append(f"{f'{rest} more':{WIDTH}} {ms:9.3f} {ms / total:6.1%}")
    return lines
