"""What hamsa_runtime costs beside the engine in it, and how long an application waits for its first result.

    hamsa-export --model hamsa_s --to openvino -o out/s-f32           (and --bf16, and --to onnx)
    python benchmarks/runtime.py out/s-f32 [BUNDLE ...] [--rounds 30] [--threads 2] [--images FOLDER]

For each bundle of a CPU engine:
- steady state, batch 1, interleaved: the engine called directly with a prepared array, the wrapper with uint8 pixels of
  the model's size, with a PIL image, and with a JPEG; medians, and the median of the ratios to the direct call;
- the same JPEGs one after the other and through `Engine.stream`;
- cold start, each in a process of its own, in turn: Python alone, `import hamsa_runtime`, the engine directly to its
  first result, the wrapper to its first result (its hashing of the files included).

`runtimes/cpp` measures itself against the same direct call.
"""

from __future__ import annotations

import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tables
from measure import Times, interleaved, ratio, say
from PIL import Image

from hamsa_runtime import Engine

PHOTOS = Path(__file__).parents[1] / "hamsa_deploy" / "samples" / "photos"
DIRECT = "engine directly"
# Of a wrapper around batch 1, given pixels of the model's size.
LARGEST_OVERHEAD = 0.08
COLD_ROUNDS = 5

IMPORT = "import hamsa_runtime"
WRAPPED = """
import sys, numpy as np
from hamsa_runtime import Engine
with Engine(sys.argv[1], threads=int(sys.argv[2])) as engine:
    engine(np.load(sys.argv[3])[0])
"""
OPENVINO = """
import sys, numpy as np
sys.modules["openvino_telemetry"] = None
import openvino
pixels = np.load(sys.argv[3])
core = openvino.Core()
model = core.read_model(sys.argv[1] + "/model.xml")
model.reshape(list(pixels.shape))
options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": int(sys.argv[2]), "INFERENCE_PRECISION_HINT": "f32"}
core.compile_model(model, "CPU", options).create_infer_request().infer({0: pixels})
"""
ONNXRUNTIME = """
import sys, numpy as np, onnxruntime
pixels = np.load(sys.argv[3])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx", options, providers=["CPUExecutionProvider"])
session.run(None, {session.get_inputs()[0].name: pixels})
"""


def main() -> None:
    parser = tables.parser(__doc__, threads=2)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--images", type=Path, default=PHOTOS, help="folder of JPEGs")
    options, report = tables.begin(parser)
    photos = sorted(options.images.glob("*.jpg"))
    for folder in options.bundles:
        with Engine(folder, threads=options.threads) as engine:
            engine.warm_up()
            say(f"{folder}: {engine.describe()}")
            _steady_state(report, engine, photos[0], options.rounds)
            _streaming(report, engine, photos, max(options.rounds // 6, 3))
        _cold_start(report, folder, options.threads)


def _steady_state(report: tables.Report, engine: Engine, photo: Path, rounds: int) -> None:
    height, width = engine.manifest.preprocessing.size if engine.manifest.preprocessing else (0, 0)
    image = Image.open(photo).convert("RGB")
    pixels = np.asarray(image.resize((width, height)))
    prepared = {engine.manifest.inputs[0].name: pixels[None]}
    runs: dict[str, Callable[[], object]] = {
        DIRECT: _direct(engine, prepared),
        "Python, uint8 pixels of the model's size": lambda: engine(pixels),
        "Python, PIL image": lambda: engine(image),
        f"Python, JPEG of {image.width} x {image.height}": lambda: engine(photo),
    }
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    timed = {name: functools.partial(_with_cpu_time, run, cpu[name]) for name, run in runs.items()}
    times = interleaved(timed, rounds)  # type: ignore[arg-type]  # what is returned does not matter
    columns = {"": "", "ms": ".2f", "of direct": ".3f", "in CPU time": ".3f", "overhead": ""}
    report.show(f"{engine.folder.name}, batch 1", columns, [_beside_direct(name, times, cpu) for name in times])


def _beside_direct(name: str, times: Times[str], cpu: Times[str]) -> tables.Row:
    of_direct = ratio(times, name, DIRECT)
    processor = statistics.median(cpu[name]) / statistics.median(cpu[DIRECT])
    verdict = "reached" if of_direct["median"] < 1 + LARGEST_OVERHEAD else "MISSED"
    goal = f"at most {LARGEST_OVERHEAD:.0%}: {verdict}" if "uint8" in name else None
    return [name, tables.spread(times[name]), of_direct, processor, goal]


def _with_cpu_time(run: Callable[[], object], milliseconds: list[float]) -> None:
    """CPU time of all threads: other processes on the machine hardly change it."""
    start = time.process_time()
    run()
    milliseconds.append(1e3 * (time.process_time() - start))


def _direct(engine: Engine, prepared: dict[str, np.ndarray]) -> Callable[[], object]:
    """The call that the wrapper makes, of the same loaded model, with nothing around it."""
    backend: Any = engine._backend
    if engine.manifest.target == "onnx":
        names = [spec.name for spec in engine.manifest.outputs]
        return lambda: backend._session.run(names, prepared)
    with backend._requests[True].one() as request:
        return lambda: request.infer(prepared)


def _streaming(report: tables.Report, engine: Engine, photos: list[Path], rounds: int) -> None:
    files = photos * 2
    runs = {
        "one after the other": lambda: [engine(file) for file in files],
        "stream": lambda: list(engine.stream(files)),
    }
    times = interleaved(runs, rounds)  # type: ignore[arg-type]
    rows: list[tables.Row] = [
        [name, tables.spread(each / len(files) for each in values), ratio(times, name, "one after the other")]
        for name, values in times.items()
    ]
    columns = {"": "", "ms per image": ".2f", "of serial": ".3f"}
    report.show(f"{engine.folder.name}, {len(files)} JPEGs", columns, rows)


def _cold_start(report: tables.Report, folder: Path, threads: int) -> None:
    with Engine(folder, threads=threads) as engine:
        bare = {"openvino": OPENVINO, "onnx": ONNXRUNTIME}[engine.manifest.target]
        shape = [1 if isinstance(size, str) else size for size in engine.manifest.inputs[0].shape]
    pixels = folder.parent / f".{folder.name}-pixels.npy"
    np.save(pixels, np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    scripts = {
        "Python alone": "",
        "import hamsa_runtime": IMPORT,
        "engine directly, to its first result": bare,
        "hamsa_runtime, to its first result": WRAPPED,
    }
    try:
        seconds = _processes(scripts, [str(folder), str(threads), str(pixels)])
    finally:
        pixels.unlink()
    rows: list[tables.Row] = [[name, tables.spread(values)] for name, values in seconds.items()]
    report.show(f"{folder.name}, cold start, a process each", {"": "", "s": ".3f"}, rows)


def _processes(scripts: Mapping[str, str], arguments: list[str]) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in scripts}
    for _ in range(COLD_ROUNDS):
        for name, script in scripts.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", script, *arguments], check=True)  # noqa: S603  # our own text
            seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
