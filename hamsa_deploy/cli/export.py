"""`hamsa-export`: from a PyTorch model or an ONNX file to a bundle that a device runs, checked against the original."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamsa_deploy.cli import summary
from hamsa_deploy.cli.console import Stages, Terminal, run
from hamsa_deploy.cli.early import check_data, check_files, check_model
from hamsa_deploy.cli.images import knows_its_images, preprocessing_said
from hamsa_deploy.cli.parser import Parser, add_flags
from hamsa_deploy.cli.recipe import RecipeParser
from hamsa_deploy.cli.service import Repository, as_document, configured, repository_for, show_service, take_service
from hamsa_deploy.form.options import flags_of
from hamsa_deploy.form.request import (
    BUILDER,
    BUILDER_FLAGS,
    CALIBRATION,
    COMPARISON,
    DEFAULT_TARGET,
    MODEL,
    TARGET,
    ExportOptions,
)
from hamsa_deploy.form.values import Suggested, assignment, channel_values, free_axis, inputs, list_of, one_of, sides
from hamsa_deploy.models.catalogue import BUILT_IN, OTHERS
from hamsa_deploy.pipeline.staging import check_destination
from hamsa_deploy.precision.records import all_precisions
from hamsa_deploy.services import SERVICES
from hamsa_deploy.targets import all_targets, check_precision, target_of
from hamsa_runtime.backends import check_device
from hamsa_runtime.cli.habits import FORMATS
from hamsa_runtime.errors import InputError
from hamsa_runtime.images import RESAMPLING
from hamsa_runtime.vocabulary import CHECKPOINTS, PRECISIONS, TARGETS

if TYPE_CHECKING:
    from hamsa_deploy.form.request import Request
    from hamsa_runtime.manifest import Manifest

DESCRIPTION = (
    "Exports a PyTorch model, or an ONNX file with Fourier transforms, as a bundle that runs without PyTorch, and "
    "proves that both compute the same."
)
STAGES = {
    "load": "load PyTorch and the model",
    "real form": "rewrite torch.fft in real arithmetic",
    "tune": "measure plans and forms here",
    "onnx": "translate to ONNX",
    **{stage: words for precision in all_precisions() for stage, words in precision.stages.items()},
    **{target.stage: target.stage_words for target in all_targets() if target.stage},
    "parity": "run it, and compare with PyTorch",
    "speed": "time it against float32",
    "pack": "hash and publish the bundle",
}
ONNX_STAGES = STAGES | {
    "load": "read and check the ONNX file",
    "real form": "replace DFT by real arithmetic",
    "onnx": "write ONNX",
    "parity": "run it, and compare with the file",
}
DEFAULT_MODEL = "hamsa_nano"
INTERPOLATIONS = tuple(RESAMPLING)
FLAGS = BUILDER_FLAGS | flags_of(ExportOptions)


def main(argv: list[str] | None = None, prog: str = "hamsa-export") -> int:
    """Run the command; returns its exit code."""
    return run(parser(prog), _export, argv)


def parser(prog: str = "hamsa-export") -> RecipeParser:
    """Of the command's line and its recipes; `parser().options_from(argv)` reads one."""
    parser = RecipeParser(prog, DESCRIPTION, usage="%(prog)s [--model NAME | --onnx FILE] [--to TARGET] [OPTION ...]")
    parser.add_recipe()
    _add_model(parser)
    _add_target(parser)
    for title in (BUILDER, CALIBRATION, COMPARISON):
        add_flags(parser.add_argument_group(title), FLAGS)
    parser.add_common()
    return parser


# fmt: off
def _add_model(parser: Parser) -> None:
    group = parser.add_argument_group(MODEL)
    add = group.add_argument
    add("--model", type=Suggested((*BUILT_IN, "timm:", "hf:")), metavar="NAME",
        help=f"{', '.join([*BUILT_IN, *OTHERS])}; hamsa models says more (default: {DEFAULT_MODEL}, trained)")
    add("--onnx", type=Path, metavar="FILE",
        help="instead of a model, an ONNX file: its DFT and STFT operators are replaced by real arithmetic")
    add("--weights", type=Path, metavar="FILE", help=f"a checkpoint: {', '.join(CHECKPOINTS)}")
    add("--weights-key", metavar="KEY",
        help="where in it the weights are, such as ema or state_dict.net, which is also what names may begin with "
             "(default: found at the top, under model, state_dict or model_ema, or where the only ones are)")
    add("--set", type=assignment, action="append", default=[], metavar="KEY=VALUE",
        help="an option of the model, such as image_size=448 or num_classes=10; may be repeated")
    add_flags(group, FLAGS)
    add("--input", type=inputs, action="extend", default=[], metavar="[NAME:]SHAPE[:TYPE]",
        help="for package.module:factory, each input: its shape, batch first (which is only an example), and its type, "
             "such as 1x3x224x224 or ids:2x16:int64 (default: float32); by the names of forward's arguments, or in "
             "their order, and then a name is what the bundle calls it; several with commas, or repeat the option "
             "(default: the factory's example_inputs, or the arrays of --data); for --onnx, to fix sizes that the "
             "file leaves open")
    add("--dynamic", type=free_axis, action="append", default=[], metavar="INPUT:AXIS=NAME[:MIN..MAX]",
        help="leave a size of an input free, such as x:2=frames: the same name is the same size; may be repeated; an "
             "axis called batch is the batch (default: the first axis of every input is the batch)")
    add("--image-size", type=sides, metavar="N|HxW",
        help="for package.module:factory, makes it a model of images of this size, which takes image files of any; "
             "with --mean and --std. (Built-in models: --set image_size=N)")
    add("--mean", type=channel_values, metavar="R,G,B",
        help="what the model's training subtracted from pixels between 0 and 1, in the order red, green, blue; one "
             "number for all")
    add("--std", type=channel_values, metavar="R,G,B", help="what it divided by then")
    add("--resize", type=one_of("interpolation", INTERPOLATIONS), metavar="HOW",
        help=f"how images are scaled: {' or '.join(INTERPOLATIONS)} (default: bicubic)")
    add("--preprocessing", type=Path, metavar="FILE",
        help="instead, a TOML file with size = [224, 224], mean and std, and perhaps resize, channels (1 for grey) and "
             "crop_fraction (0.875: the middle of a larger image); the options above go before what it says")


def _add_target(parser: Parser) -> None:
    group = parser.add_argument_group(TARGET)
    add = group.add_argument
    add("--to", type=one_of("target", (*TARGETS, *SERVICES), FORMATS), default=DEFAULT_TARGET, metavar="TARGET",
        help=f"{', '.join(TARGETS[:-1])} or {TARGETS[-1]} (default: {DEFAULT_TARGET}); or a server, for which a model "
             f"repository is written, with the bundle as the model's next version: {' or '.join(SERVICES)}")
    add_flags(group, FLAGS)
    add("-o", "--output", type=Path, metavar="DIR",
        help="the bundle's folder, or the server's repository (default: out/<model>-<target>-<precision>)")
    add("--sweep", nargs="+", action="extend", default=[], metavar="KEY=LIST",
        type=list_of({"precisions": PRECISIONS, "targets": TARGETS}),
        help="a matrix of bundles, such as precisions=fp32,fp16,int8 targets=openvino,onnx: each is built and "
             "compared, all are timed beside each other, and the best are marked in a table and a plot; DIR then holds "
             "all of it (default: out/<model>-sweep), and what is in it already is not built again")
    add("--dry-run", action="store_true", help="capture the model and show the plan; write nothing")
# fmt: on


def _export(options: Any, terminal: Terminal) -> int:
    check_names(options)
    if options.sweep:
        from hamsa_deploy.cli.sweep import sweep

        return sweep(options, terminal, ONNX_STAGES if options.onnx else STAGES)
    service = take_service(options)
    with Stages(terminal, ONNX_STAGES if options.onnx else STAGES) as stages:
        with stages("load"):
            check_data(options)
            from hamsa_deploy.cli.request import request_from_options

            request = request_from_options(options)
        repository = repository_for(service, options.output, request.name, request.precision) if service else None
        output = options.output or Path("out", f"{request.name}-{request.to}-{request.precision}")
        output = repository.version if repository else output
        manifest = _planned(request, stages) if options.dry_run else _exported(request, output, stages)
    if options.dry_run:
        _show_plan(manifest, options, output, terminal)
    else:
        _show_result(manifest, stages.seconds, output, repository, terminal)
    return 0


def check_names(options: Any) -> None:
    """All that options name, before PyTorch is loaded: the model, target with precision and device, and files.

    Raises:
        InputError, MissingError: what is not there, or does not go together.
    """
    check_one_model(options)
    target = target_of(SERVICES[options.to].target if options.to in SERVICES else options.to)
    if not options.sweep and options.precision is not None:
        check_precision(target, options.precision)
    if options.onnx is None:
        check_model(options.model, dict(options.set))
        if not knows_its_images(options):
            preprocessing_said(options)
    check_files(options)
    if not options.sweep and options.to not in SERVICES:
        if options.output is not None and not options.dry_run:
            check_destination(options.output)
        check_device(target.name, options.device)
        if options.precision is not None:
            target.check_here(options.precision, options.device)


def check_one_model(options: Any) -> None:
    """--onnx or --model with its options; the default model without either."""
    given = {
        "--model": options.model,
        "--weights": options.weights,
        "--weights-key": options.weights_key,
        "--set": options.set,
        "--image-dtype": options.image_dtype,
        "--preprocessing": options.preprocessing,
        "--image-size": options.image_size,
        "--mean": options.mean,
        "--std": options.std,
        "--resize": options.resize,
        "--dynamic": options.dynamic,
    }
    others = [name for name, value in given.items() if value]
    if options.onnx and others:
        raise InputError(
            f"--onnx with {', '.join(others)}",
            expected="--onnx alone: the file holds graph and weights, and takes its inputs as it is",
            fix="leave one of them away",
        )
    if options.weights_key is not None and options.weights is None:
        raise InputError("--weights-key without --weights", expected="the file that has this key", fix="--weights FILE")
    options.model = options.model or DEFAULT_MODEL


def _planned(request: Request, stages: Stages) -> Manifest:
    """The manifest as far as it is known once the model is captured.

    Of the 4 CPU seconds that this takes for hamsa_nano, 2 are imports that torch.export makes (torch 1.0, torch._dynamo
    and torch.export 0.8, sympy 0.2), 1 is its capture, and 1 records the real form. To interpret it and record nothing
    takes as long; a fixed batch takes half, and proves nothing of others. Of the imports, networkx and the sharding of
    torch.distributed are never used, and take less than 0.1 each: not worth a place of their own in sys.modules.
    """
    from hamsa_deploy.form.from_request import real_model_of_request
    from hamsa_deploy.pipeline.checks import check_labels, check_request
    from hamsa_deploy.pipeline.manifest import manifest_of
    from hamsa_deploy.pipeline.trial import try_file

    check_request(request)
    try_file(request)
    with stages("real form"):
        form = real_model_of_request(request)
        check_labels(request, form)
    return manifest_of(request, form)


def _exported(request: Request, output: Path, stages: Stages) -> Manifest:
    """The manifest of the published bundle."""
    from hamsa_deploy.pipeline.run import export

    return export(**vars(request), output=output, progress=stages).manifest


def _show_plan(manifest: Manifest, options: Any, output: Path, terminal: Terminal) -> None:
    from hamsa_deploy.pipeline.run import stages_of

    search, choice = options.max_drop is not None, options.only_where_it_pays
    stages = stages_of(manifest.target, manifest.precision, tune=options.tune, search=search, choice=choice)
    if terminal.as_json:
        rows = [{"name": name, "seconds": None} for name in stages]
        document = {name: value for name, value in dataclasses.asdict(manifest).items() if name != "files"}
        _write_json("planned", document, rows, output, terminal)
    else:
        summary.show_plan(terminal.out, manifest, stages, output)


def _show_result(
    manifest: Manifest,
    seconds: Mapping[str, float],
    output: Path,
    repository: Repository | None,
    terminal: Terminal,
) -> None:
    files = configured(repository) if repository else []
    if terminal.as_json:
        rows = [{"name": name, "seconds": round(time, 3)} for name, time in seconds.items()]
        extra = as_document(repository, files) if repository else {}
        verdict = "not compared" if manifest.parity is None else "passed"
        _write_json(verdict, dataclasses.asdict(manifest) | extra, rows, output, terminal)
        return
    summary.show_result(terminal.out, manifest, seconds, output)
    if repository:
        show_service(terminal.out, repository, files)


def _write_json(
    verdict: str, document: dict[str, Any], stages: list[dict[str, Any]], output: Path, terminal: Terminal
) -> None:
    report = {"verdict": verdict, "bundle": str(output), "stages": stages, "notes": terminal.notes}
    terminal.write_json(report | document)


if __name__ == "__main__":
    sys.exit(main())
