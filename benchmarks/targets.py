"""Every target in every precision, for several models: what converts, what runs here, the error, the size, the time.

    python benchmarks/targets.py [--models nano filter stft vim] [--targets litert coreml ...] [--bundles FOLDER]

Each bundle is what `export` publishes once it has compared it with PyTorch: the error is that of the manifest, of the
output that is worst. Times are of whole calls of the runtime, batch 1, all bundles of a model in turn, at its end; a
run that is stopped before has kept rows without times. With --bundles, what was made is kept as well, and why something
was not: a later run only times it, which takes seconds. A target whose packages are not installed is missing;
what it refuses is said with its reason.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tables
import torch
from measure import interleaved, quietly, say
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.models import load_model
from hamsa_deploy.targets import target_of
from hamsa_runtime import Engine
from hamsa_runtime.bundle import Bundle, open_bundle
from hamsa_runtime.errors import HamsaError
from hamsa_runtime.manifest import Parity
from hamsa_runtime.vocabulary import PRECISIONS, TARGETS

CALIBRATION = 32
COLUMNS = {"target": "", "precision": "", "converts": "", "runs here": "", "error": ".1e", "MB": ".2f", "ms": ".2f"}
Name = tuple[str, str]
"""Target and precision."""


class Filter(nn.Module):
    """Learned filters of 384 points, between two layers."""

    def __init__(self, width: int = 64, points: int = 384) -> None:
        super().__init__()
        self.filters = nn.Parameter(torch.randn(width, points // 2 + 1, dtype=torch.complex64))
        self.before, self.after = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        signal = self.before(x).transpose(1, 2)
        filtered = torch.fft.irfft(torch.fft.rfft(signal) * self.filters, n=signal.shape[-1])
        return self.after(torch.relu(filtered).transpose(1, 2))


class ShortTime(nn.Module):
    """The logarithm of a clip's short-time spectrum, and one layer: the front end of models that hear."""

    window: Tensor

    def __init__(self, points: int = 512) -> None:
        super().__init__()
        self.points = points
        self.register_buffer("window", torch.hann_window(points))
        self.layer = nn.Linear(points // 2 + 1, 64)

    def forward(self, clip: Tensor) -> Tensor:
        frames = torch.stft(clip, self.points, self.points // 2, window=self.window, return_complex=True)
        return self.layer(torch.log(frames.abs() ** 2 + 1e-3).transpose(1, 2))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "nano": (lambda: load_model("hamsa_nano"), (3, 32, 32)),
    "filter": (Filter, (384, 64)),
    "stft": (ShortTime, (16000,)),
    "vim": (lambda: load_model("vim_nano"), (3, 32, 32)),
    "s": (lambda: load_model("hamsa_s"), (3, 224, 224)),
}


@dataclass(frozen=True)
class Cell:
    """What became of a model for one target in one precision."""

    name: Name
    why_not: str = ""
    bundle: Bundle | None = None


def examples(shape: tuple[int, ...], number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((number, *shape)).astype(np.float32)


def exported(model: nn.Module, shape: tuple[int, ...], name: Name, folder: Path) -> Cell:
    """A bundle in the folder, or a file that says why there is none; from an earlier run, if they are there."""
    bundle, why_not = folder / "-".join(name), folder / f"{'-'.join(name)}.txt"
    if why_not.exists():
        return Cell(name, why_not.read_text("utf-8"))
    if not bundle.exists() and (reason := _refused(model, shape, name, bundle)):
        why_not.write_text(reason, "utf-8")
        return Cell(name, reason)
    return Cell(name, bundle=open_bundle(bundle))


def _refused(model: nn.Module, shape: tuple[int, ...], name: Name, output: Path) -> str:
    """Export; gives the reason where that fails."""
    target, precision = name
    inputs, data = ("x",), {"x": examples(shape, 4, seed=1)}
    is_calibrated = precision == "int8" and target_of(target).int8 is not None
    calibration = {"x": examples(shape, CALIBRATION, seed=2)} if is_calibrated else None
    try:
        with quietly():
            hamsa_deploy.export(
                model, example_inputs=(torch.from_numpy(examples(shape, 2)),), input_names=inputs, to=target,
                precision=precision, data=data, calibration=calibration, output=output,
            )  # fmt: skip
    except HamsaError as error:
        return tables.without_places(f"{error.found}{f' ({error.cause})' if error.cause else ''}", output.parent)
    except Exception as error:  # noqa: BLE001  # a bug of ours is a row of this table, too
        return tables.without_places(f"FAILS, {type(error).__name__}: {error}", output.parent)
    return ""


def rows(cells: list[Cell], shape: tuple[int, ...], rounds: int) -> Iterator[tables.Row]:
    """Of what was made; timed, if there are rounds."""
    x = {"x": examples(shape, 1, seed=3)}
    made = {cell.name: cell.bundle for cell in cells if cell.bundle is not None}
    run_here = {name: bundle for name, bundle in made.items() if bundle.manifest.parity is not None and rounds}
    with contextlib.ExitStack() as stack:
        engines = {
            name: stack.enter_context(Engine(bundle.folder, backend=target_of(name[0]).backend_here()))
            for name, bundle in run_here.items()
        }
        runs = {name: partial(_outputs, engine, x) for name, engine in engines.items()}
        times = interleaved(runs, rounds) if runs else {}
    for name, bundle in made.items():
        parity, size = bundle.manifest.parity, sum(each.bytes for each in bundle.manifest.files.values())
        timed = tables.spread(times[name]) if name in times else None
        yield [*name, "yes", _where(parity), _error(parity), size / 1e6, timed]


def _outputs(engine: Engine, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    return next(iter(engine(inputs).values()))


def _where(parity: Parity | None) -> str:
    if parity is None:
        return "no: not verified"
    return f"by {parity.engine}" if parity.engine else "yes"


def _error(parity: Parity | None) -> float | None:
    return None if parity is None else max(each.get("max_relative_error", 0.0) for each in parity.metrics.values())


def main() -> None:
    parser = tables.parser(__doc__)
    usual = [name for name in MODELS if name != "s"]
    parser.add_argument("--models", nargs="+", default=usual, choices=MODELS, metavar="MODEL")
    parser.add_argument("--targets", nargs="+", default=TARGETS, choices=TARGETS, metavar="TARGET")
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS, metavar="PRECISION")
    parser.add_argument("--bundles", type=Path, metavar="DIR", help="keep them there, and take those that are there")
    parser.add_argument("--rounds", type=int, default=9)
    options, report = tables.begin(parser)
    for key in options.models:
        make, shape = MODELS[key]
        torch.manual_seed(0)
        model, cells = make().eval(), []
        with _place(options.bundles, key) as folder:
            for name in itertools.product(options.targets, options.precisions):
                started = time.perf_counter()
                cells.append(exported(model, shape, name, folder))
                say(f"{key}: {', '.join(name)}: {time.perf_counter() - started:.0f} s")
                report.keep(key, COLUMNS, rows(cells, shape, 0), _note(cells))
            report.show(key, COLUMNS, rows(cells, shape, options.rounds), _note(cells))


@contextlib.contextmanager
def _place(kept: Path | None, key: str) -> Iterator[Path]:
    if kept is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        (kept / key).mkdir(parents=True, exist_ok=True)
        yield kept / key


def _note(cells: list[Cell]) -> str:
    refused = [f"- {' '.join(cell.name)}: {cell.why_not}" for cell in cells if cell.why_not]
    return "\n".join(["Not made:", "", *refused]) if refused else ""


if __name__ == "__main__":
    main()
