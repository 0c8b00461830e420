"""Time against pixels, HAMSA-S and DeiT-S on OpenVINO, batch 1: a table and a plot on logarithmic axes.

    python benchmarks/growth.py [--sizes 224 448 896 1248] [--runs 5] [--threads 2] [--plot out/growth.png]

Files are exported one after the other, each in a process of its own. Then all sizes are loaded at once and timed in
turn, so that a ratio between two sizes is as good as one between two models. The plot needs matplotlib
(pip install "hamsa-deploy[bench]"); without it there is the table only.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from exports import real_form
from measure import BF16, F32, Run, Times, images, interleaved, median_ratio, openvino_run, say
from peers import for_openvino

HAMSA, DEIT = "HAMSA-S", "DeiT-S"
# HAMSA's time may grow by this much more than its pixels.
LARGEST_GROWTH = 1.25

Name = tuple[str, str, int]
"""Model, precision, image size."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 448, 896, 1248])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plot", type=Path, default=Path("out/growth.png"), help=".png or .svg")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = _all_runs(sorted(options.sizes), options.threads, Path(folder))
        say("timing")
        times = interleaved(runs, options.runs)
    _print(times)
    if importlib.util.find_spec("matplotlib") is None:
        print('no plot: it needs matplotlib; pip install "hamsa-deploy[bench]"')
    elif times:
        _plot(times, options.plot)
        print(f"plot: {options.plot}")


def _all_runs(sizes: Sequence[int], threads: int, folder: Path) -> dict[Name, Run]:
    """Both models at both precisions and all sizes; what cannot be exported is said and left out."""
    runs: dict[Name, Run] = {}
    for size in sizes:
        for model, export, arguments in ((HAMSA, real_form, (size, 1, "openvino")), (DEIT, for_openvino, (size, 1))):
            say(f"preparing {model}, {size} pixels")
            own_folder = folder / f"{model}-{size}"
            own_folder.mkdir()
            file = _exported_in_own_process(export, (*arguments, own_folder), f"{model}, {size} pixels")
            if file is not None:
                for precision in (F32, BF16):
                    runs[model, precision, size] = openvino_run(file, images(size, 1), precision, threads)
    return runs


def _exported_in_own_process(export: Callable[..., Path], arguments: tuple[object, ...], title: str) -> Path | None:
    """The file; what its export needed of memory is free again afterwards."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        future = pool.submit(export, *arguments)
        error = future.exception()
    if error is None:
        return future.result()
    print(f"{title}: not exported, {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    return None


def _curves(times: Times[Name]) -> dict[tuple[str, str], list[int]]:
    """Model and precision -> the sizes that were measured."""
    curves: dict[tuple[str, str], list[int]] = {}
    for model, precision, size in times:
        curves.setdefault((model, precision), []).append(size)
    return curves


def _print(times: Times[Name]) -> None:
    """`growth` is the time over that of the smallest size, over the same ratio of the pixels; `of DeiT-S` is speed."""
    print(f"{'OpenVINO, batch 1':16} {'pixels':>8} {'median ms':>10} {'growth':>8} {'speed of DeiT-S':>16}")
    for (model, precision), sizes in _curves(times).items():
        for size in sizes:
            name, first = (model, precision, size), (model, precision, sizes[0])
            growth = median_ratio(times, name, first) * (sizes[0] / size) ** 2
            too_fast = " MISSED" if model == HAMSA and growth > LARGEST_GROWTH else ""
            peer = (DEIT, precision, size)
            speed = f"{median_ratio(times, peer, name):15.2f}x" if model == HAMSA and peer in times else " " * 16
            label = f"{model} {precision}"
            print(f"{label:16} {size:>8} {statistics.median(times[name]):10.1f} {growth:8.2f} {speed}{too_fast}")
    print(f"growth: time over pixels, relative to the smallest size; HAMSA-S's goal is at most {LARGEST_GROWTH}")


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
