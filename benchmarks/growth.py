"""Time against pixels, HAMSA-S and DeiT-S on OpenVINO, batch 1: a table and a plot on logarithmic axes.

    python benchmarks/growth.py [--sizes 224 448 896 1248] [--runs 5] [--threads 2] [--plot out/growth.png]

Files are exported one after the other, each in a process of its own. Then all sizes are loaded at once and timed in
turn, so that a ratio between two sizes is as good as one between two models. The plot needs matplotlib
(pip install "hamsa-deploy[bench]"); without it there is the table only.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import tables
from exports import real_form
from measure import BF16, F32, Run, Times, images, in_own_process, interleaved, openvino_run, ratio, say
from peers import for_openvino

HAMSA, DEIT = "HAMSA-S", "DeiT-S"
# HAMSA's time may grow by this much more than its pixels.
LARGEST_GROWTH = 1.25
NOTE = f"growth: time over pixels, relative to the smallest size; HAMSA-S's goal is at most {LARGEST_GROWTH}"

Name = tuple[str, str, int]
"""Model, precision, image size."""


def main() -> None:
    parser = tables.parser(__doc__, threads=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 448, 896, 1248])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--plot", type=Path, default=Path("out/growth.png"), help=".png or .svg")
    options, report = tables.begin(parser)
    with tempfile.TemporaryDirectory() as folder:
        runs = _all_runs(report, sorted(options.sizes), options.threads, Path(folder))
        say("timing")
        times = interleaved(runs, options.runs)
    columns = {"OpenVINO, batch 1": "", "pixels": "d", "ms": ".1f", "growth": ".2f", "speed of DeiT-S": ".2f", "": ""}
    report.show("Time against pixels", columns, _rows(times), NOTE)
    if importlib.util.find_spec("matplotlib") is None:
        say('no plot: it needs matplotlib; pip install "hamsa-deploy[bench]"')
    elif times:
        _plot(times, options.plot)
        say(f"plot: {options.plot}")


def _all_runs(report: tables.Report, sizes: Sequence[int], threads: int, folder: Path) -> dict[Name, Run]:
    """Both models at both precisions and all sizes; what cannot be exported is said and left out."""
    runs: dict[Name, Run] = {}
    for size in sizes:
        for model, export, arguments in ((HAMSA, real_form, (size, 1, "openvino")), (DEIT, for_openvino, (size, 1))):
            say(f"preparing {model}, {size} pixels")
            own_folder = folder / f"{model}-{size}"
            own_folder.mkdir()
            future = in_own_process(export, *arguments, own_folder)
            if error := future.exception():
                report.show(f"{model}, {size} pixels", {}, [], f"not exported, {type(error).__name__}: {error}")
                continue
            for precision in (F32, BF16):
                runs[model, precision, size] = openvino_run(future.result(), images(size, 1), precision, threads)
    return runs


def _curves(times: Times[Name]) -> dict[tuple[str, str], list[int]]:
    """Model and precision -> the sizes that were measured."""
    curves: dict[tuple[str, str], list[int]] = {}
    for model, precision, size in times:
        curves.setdefault((model, precision), []).append(size)
    return curves


def _rows(times: Times[Name]) -> Iterator[tables.Row]:
    for (model, precision), sizes in _curves(times).items():
        for size in sizes:
            name, peer = (model, precision, size), (DEIT, precision, size)
            growth = _growth(times, name, sizes[0])
            speed = ratio(times, peer, name) if model == HAMSA and peer in times else None
            verdict = "MISSED" if model == HAMSA and growth > LARGEST_GROWTH else ""
            yield [f"{model}, {precision}", size, tables.spread(times[name]), growth, speed, verdict]


def _growth(times: Times[Name], name: Name, smallest: int) -> float:
    model, precision, size = name
    return ratio(times, name, (model, precision, smallest))["median"] * (smallest / size) ** 2


def _plot(times: Times[Name], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 5), layout="constrained")
    colours, lines = {HAMSA: "tab:blue", DEIT: "tab:orange"}, {F32: "-", BF16: "--"}
    for (model, precision), sizes in _curves(times).items():
        medians = [statistics.median(times[model, precision, size]) for size in sizes]
        pixels = [size**2 for size in sizes]
        axes.loglog(pixels, medians, lines[precision], color=colours[model], marker="o", label=f"{model}, {precision}")
        slope = [medians[0] * count / pixels[0] for count in pixels]
        axes.loglog(pixels, slope, color="0.75", linewidth=0.8, zorder=0)
    sizes = sorted({size for *_, size in times})
    axes.set_xticks([size**2 for size in sizes], [f"{size} × {size}" for size in sizes])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("pixels")
    axes.set_ylabel("ms per image (median)")
    axes.set_title("OpenVINO, batch 1; grey: time in proportion to pixels")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
