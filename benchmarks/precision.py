"""What reduced precision costs and gains: the tables of docs/precision.md.

    python benchmarks/precision.py --only nano
    python benchmarks/precision.py --only s speed --weights out/hamsa_s_photographs.safetensors
    python benchmarks/precision.py --only pays [--models hamsa_nano hamsa_s] [--batch 1 8]

nano    hamsa_nano on the 360 held-out digits: top-1; agreement with PyTorch in float32; cosine of the embedding; size
s       hamsa_s, with the weights of benchmarks/train_on_photographs.py, on 64 crops that training did not draw, though
        of the same two photographs: signal-to-quantisation-noise ratio and cosine of the embedding; size
speed   hamsa_s on those crops, all bundles in turn (see measure.py): milliseconds, and the medians of the ratios
pays    int8 with `only_where_it_pays`, beside each precision that the processor has kernels for, all of one batch

With e the embeddings of PyTorch in float32 and e_q those of a bundle, sums over all images and channels:

    SQNR = 10 log10( sum e^2 / sum (e - e_q)^2 )    in dB

Bundles are what hamsa_deploy.export makes, and run in hamsa_runtime.Engine. The size is that of all files but the
manifest. Ranges come from other images than those measured: digits of the training part, crops of another seed.
Digits and photographs come with scikit-learn (the extra `train`).
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import tables
import torch
from crops import Pixels, crops
from measure import Run, interleaved, quietly, ratio, say
from sklearn.datasets import load_digits
from torch import nn

from hamsa_deploy import export, load_model
from hamsa_deploy.models import model_entry
from hamsa_deploy.parity.comparison import reference_inputs
from hamsa_deploy.parity.decisions import same_top1
from hamsa_deploy.parity.differences import cosines
from hamsa_deploy.precision.records import precision_of
from hamsa_deploy.precision.records.record import FLOAT32
from hamsa_deploy.samples import digits
from hamsa_deploy.targets import target_of
from hamsa_runtime import Bundle, Engine
from hamsa_runtime.errors import MissingError, ParityError

TARGETS = ("openvino", "onnx")
SECTIONS = ("nano", "s", "speed", "pays")
CROPS, CALIBRATION = 64, 64
# train_on_photographs.py has 0 and 1.
CROP_SEED, CALIBRATION_SEED = 2, 3
CROP_SIDE = 256  # of which 224 / 0.875 is the whole: nothing is resized again
BATCHES = (1, 8)
CHUNK = 8
WHERE_IT_PAYS = "int8 where it pays"
# How long products take does not depend on their scales.
SCALES: dict[str, Any] = {"calibration_method": "min-max"}
SCALED_ON = 16

Form = tuple[str, str]
"""Target and precision, or WHERE_IT_PAYS."""
Arrays = dict[str, np.ndarray]

NOTHING: Mapping[str, Any] = MappingProxyType({})
COSINE = {"cosine, least": ".6f", "mean": ".6f"}
SIZE = {"MB": ".2f", "of fp32": ".2f"}


@dataclass(frozen=True)
class Subject:
    """A model, the images that it is measured on, and others for calibration and the export's own check."""

    name: str
    model: nn.Module
    images: Pixels
    calibration: Pixels


def main() -> None:
    parser = tables.parser(__doc__, threads=2)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="sections (default: all)")
    parser.add_argument("--weights", type=Path, help="of hamsa_s, from benchmarks/train_on_photographs.py")
    parser.add_argument("--runs", type=int, default=15, help="rounds of the sections speed and pays")
    parser.add_argument("--models", nargs="+", choices=SUBJECTS, default=list(SUBJECTS), help="of the section pays")
    parser.add_argument("--batch", type=int, nargs="+", default=BATCHES, help="of the sections speed and pays")
    options, report = tables.begin(parser)
    if "s" in options.only and options.weights is None:
        parser.error("section s needs --weights: benchmarks/train_on_photographs.py writes them")
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        if "nano" in options.only:
            nano = nano_on_digits()
            show_digits(report, nano, bundles_of(nano, Path(folder)), options.threads)
        if "s" in options.only or "speed" in options.only:
            hamsa_s = hamsa_s_on_crops(options.weights)
            bundles = bundles_of(hamsa_s, Path(folder))
            if "s" in options.only:
                show_crops(report, hamsa_s, bundles, options.threads)
            if "speed" in options.only:
                for batch in options.batch:
                    show_speed(report, hamsa_s.images[:batch], bundles, options.threads, options.runs)
        for model in options.models if "pays" in options.only else ():
            subject = SUBJECTS[model](options.weights)
            for batch in options.batch:
                bundles = contenders(subject, batch, Path(folder, str(batch)))
                show_where_it_pays(report, subject, bundles, batch, options.threads, options.runs)


def nano_on_digits(weights: Path | None = None) -> Subject:
    """hamsa_nano with its own weights, whichever are given, and the digits that it was not trained on."""
    images, _ = digits()
    return Subject("hamsa_nano", load_model("hamsa_nano"), images, _training_digits(CALIBRATION))


def _training_digits(count: int) -> Pixels:
    """(count, 8, 8, 3), 0..255, as examples/train_digits.py makes them, without the held-out ones."""
    pixels = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    images = np.repeat(pixels[..., None], 3, axis=-1)
    held_out = {image.tobytes() for image in digits()[0]}
    return np.stack([image for image in images if image.tobytes() not in held_out][:count])


def hamsa_s_on_crops(weights: Path | None) -> Subject:
    """hamsa_s and crops of photographs; without weights, random ones, which do for the speed."""
    images, calibration = crops(CROPS, CROP_SIDE, CROP_SEED), crops(CALIBRATION, CROP_SIDE, CALIBRATION_SEED)
    return Subject("hamsa_s", load_model("hamsa_s", weights=weights), images, calibration)


SUBJECTS: dict[str, Callable[[Path | None], Subject]] = {"hamsa_nano": nano_on_digits, "hamsa_s": hamsa_s_on_crops}


def bundles_of(subject: Subject, folder: Path) -> dict[Form, Bundle]:
    """The model in every form that can be exported and checked here."""
    forms = [(target, precision) for target in TARGETS for precision in target_of(target).precisions]
    return _all_exported(subject, forms, folder)


def contenders(subject: Subject, batch: int, folder: Path) -> dict[Form, Bundle]:
    """For one batch, in every precision that the processor has kernels for, and in int8 where it pays."""
    precisions = {target: dict.fromkeys((FLOAT32, *target_of(target).kernels_here())) for target in TARGETS}
    forms = [(target, precision) for target in TARGETS for precision in (*precisions[target], WHERE_IT_PAYS)]
    scaled = dataclasses.replace(subject, calibration=subject.calibration[:SCALED_ON])
    return _all_exported(scaled, forms, folder, SCALES, batch=batch)


def _all_exported(
    subject: Subject, forms: Iterable[Form], folder: Path, quantised: Mapping[str, Any] = NOTHING, **options: Any
) -> dict[Form, Bundle]:
    """What fails is said, and left out; `quantised` are options for int8 only."""
    bundles = {}
    for form in forms:
        say(f"{subject.name}: exporting {' '.join(form)}")
        precision = "int8" if form[1] == WHERE_IT_PAYS else form[1]
        how = {**options, **(quantised if precision_of(precision).is_quantised else {})}
        how |= {"only_where_it_pays": True} if form[1] == WHERE_IT_PAYS else {}
        try:
            bundles[form] = _exported(subject, (form[0], precision), folder / "-".join((subject.name, *form)), **how)
        except (MissingError, ParityError) as error:
            say(str(error))
    return bundles


def _exported(subject: Subject, form: Form, output: Path, **options: Any) -> Bundle:
    target, precision = form
    options |= {"calibration": list(subject.calibration)} if precision_of(precision).is_measured else {}
    with quietly():
        return export(
            subject.model,
            to=target,
            output=output,
            precision=precision,
            name=subject.name,
            preprocessing=model_entry(subject.name).preprocessing,
            data=list(subject.calibration[:CHUNK]),
            **options,
        )


def show_digits(report: tables.Report, subject: Subject, bundles: Mapping[Form, Bundle], threads: int) -> None:
    """Accuracy of a classifier of digits in every form."""
    _, labels = digits()
    expected = reference_outputs(subject, bundles)

    def cells(form: Form) -> tables.Row:
        found = outputs_of(bundles[form], subject.images, threads)
        top1 = float((found["logits"].argmax(axis=1) == labels).mean())
        agreement = float(same_top1(found["logits"], expected["logits"]).mean())
        return [top1, agreement, *_cosine_cells(found, expected), *_size_cells(bundles, form)]

    top1 = float((expected["logits"].argmax(axis=1) == labels).mean())
    title = f"{subject.name}, {len(labels)} held-out digits; PyTorch in float32: {top1:.2%}"
    report.show(title, {"": "", "top-1": ".2%", "agreement": ".2%", **COSINE, **SIZE}, _rows(bundles, cells))


def show_crops(report: tables.Report, subject: Subject, bundles: Mapping[Form, Bundle], threads: int) -> None:
    """Noise of the embedding in every form."""
    expected = reference_outputs(subject, bundles)

    def cells(form: Form) -> tables.Row:
        found = outputs_of(bundles[form], subject.images, threads)
        return [
            sqnr(found["embedding"], expected["embedding"]),
            *_cosine_cells(found, expected),
            *_size_cells(bundles, form),
        ]

    title = f"{subject.name}, {len(subject.images)} crops of photographs"
    report.show(title, {"": "", "SQNR, dB": ".1f", **COSINE, **SIZE}, _rows(bundles, cells))


def show_speed(
    report: tables.Report, images: Pixels, bundles: Mapping[Form, Bundle], threads: int, rounds: int
) -> None:
    """Milliseconds of every form for one batch, and the ratios to the same engine's float32 and bfloat16."""
    with ExitStack() as stack:
        engines = {form: stack.enter_context(Engine(bundles[form].folder, threads=threads)) for form in bundles}
        runs: dict[Form, Run] = {form: partial(engine.embed, images) for form, engine in engines.items()}
        say(f"batch {len(images)}: timing")
        times = interleaved(runs, rounds)

    def cells(form: Form) -> tables.Row:
        bases = [(form[0], precision) for precision in ("fp32", "bf16")]
        return [tables.spread(times[form]), *(ratio(times, form, base) if base in times else None for base in bases)]

    columns = {"": "", "ms": ".1f", "of fp32": ".2f", "of bf16": ".2f"}
    report.show(f"hamsa_s, batch {len(images)}", columns, _rows(bundles, cells))


def show_where_it_pays(
    report: tables.Report, subject: Subject, bundles: Mapping[Form, Bundle], batch: int, threads: int, rounds: int
) -> None:
    """What the option has made, and the times of all, with the ratios to the best that is of one precision."""
    with ExitStack() as stack:
        engines = {form: stack.enter_context(Engine(bundles[form].folder, threads=threads)) for form in bundles}
        images = np.resize(subject.images, (batch, *subject.images.shape[1:]))
        runs: dict[Form, Run] = {form: partial(engine.embed, images) for form, engine in engines.items()}
        say(f"{subject.name}, batch {batch}: timing")
        times = interleaved(runs, rounds)

    def best(target: str) -> Form:
        singles = [form for form in bundles if form[0] == target and form[1] != WHERE_IT_PAYS]
        return min(singles, key=lambda form: ratio(times, form, singles[0])["median"])

    def cells(form: Form) -> tables.Row:
        of_best = ratio(times, form, best(form[0])) if form[1] == WHERE_IT_PAYS else None
        return [_chosen(bundles[form]), tables.spread(times[form]), ratio(times, form, (form[0], FLOAT32)), of_best]

    columns = {"": "", "is": "", "ms": ".3g", "of fp32": ".2f", "of the best of one precision": ".2f"}
    report.show(f"{subject.name}, batch {batch}", columns, _rows(bundles, cells))


def _chosen(bundle: Bundle) -> str:
    """What became of int8."""
    choice, calibration = bundle.manifest.int8_choice, bundle.manifest.calibration
    if choice is None or calibration is None:
        return "" if choice is None else bundle.manifest.precision
    return f"{calibration.int8_layers} of {sum(len(each.layers) for each in choice.layers)} layers in int8"


def sqnr(found: np.ndarray, expected: np.ndarray) -> float:
    """Signal-to-quantisation-noise ratio in dB, equation above."""
    e, e_q = expected.astype(np.float64), found.astype(np.float64)
    return float(10 * np.log10((e**2).sum() / ((e - e_q) ** 2).sum()))


def outputs_of(bundle: Bundle, images: Pixels, threads: int) -> Arrays:
    with Engine(bundle.folder, threads=threads) as engine:
        return _joined([engine(chunk) for chunk in _chunks(images)])


@torch.inference_mode()
def reference_outputs(subject: Subject, bundles: Mapping[Form, Bundle]) -> Arrays:
    """Of PyTorch in float32, on the pixels that every bundle gets."""
    manifest = next(iter(bundles.values())).manifest
    parts = [subject.model(*reference_inputs(chunk, manifest)) for chunk in _chunks(subject.images)]
    return _joined([{name: tensor.numpy() for name, tensor in part.items()} for part in parts])


def _chunks(images: Pixels) -> list[Pixels]:
    return [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]


def _joined(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _cosine_cells(found: Arrays, expected: Arrays) -> tables.Row:
    of_images = cosines(found["embedding"], expected["embedding"])
    return [float(of_images.min()), float(of_images.mean())]


def _size_cells(bundles: Mapping[Form, Bundle], form: Form) -> tables.Row:
    """Megabytes, and the ratio to the same engine's float32."""
    size = _bytes(bundles[form])
    return [size / 1e6, size / _bytes(bundles[form[0], "fp32"])]


def _bytes(bundle: Bundle) -> int:
    return sum(entry.bytes for entry in bundle.manifest.files.values())


def _rows(forms: Iterable[Form], cells: Callable[[Form], tables.Row]) -> Iterator[tables.Row]:
    for form in forms:
        yield [f"{target_of(form[0]).title} {form[1]}", *cells(form)]


if __name__ == "__main__":
    main()
