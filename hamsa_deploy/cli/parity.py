"""`hamsa-parity`: does a bundle still compute what its original computes, on these images?"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamsa_deploy.cli.console import Stages, Terminal, run
from hamsa_deploy.cli.early import check_folder, check_model, check_there
from hamsa_deploy.cli.files import read_labels
from hamsa_deploy.cli.recipe import RecipeParser
from hamsa_deploy.cli.reports import Reports, add_report, planned
from hamsa_deploy.form.request import DATA_HELP
from hamsa_deploy.form.values import amount, points, share, svg_file
from hamsa_deploy.models.catalogue import check_trusted
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.cli.log_file import check_writable
from hamsa_runtime.cli.parser import command_words
from hamsa_runtime.errors import InputError, ParityError
from hamsa_runtime.file_checks import check_received

if TYPE_CHECKING:
    from hamsa_deploy.cli.parity_request import ParityRequest
    from hamsa_deploy.parity import ParityReport
    from hamsa_deploy.parity.layers import LayerReport
    from hamsa_runtime.manifest import Manifest

DESCRIPTION = (
    "Runs a bundle and what it was made from on the same images, says how far they agree, and exits with 3 where that "
    "is not far enough."
)
STAGES = {
    "load": "load PyTorch, the reference and the images",
    "compare": "run both, and compare their outputs",
    "layers": "run both layer by layer",
    "report": "write the reports",
}


def main(argv: list[str] | None = None, prog: str = "hamsa-parity") -> int:
    """Run the command; returns its exit code: 3 if the bundle fails."""
    command = command_words(prog, argv)
    return run(parser(prog), functools.partial(_parity, command=command), argv)


# fmt: off
def parser(prog: str = "hamsa-parity") -> RecipeParser:
    """Of the command's line."""
    parser = RecipeParser(prog, DESCRIPTION, usage="%(prog)s BUNDLE [--data PATH] [OPTION ...]")
    # Not required by argparse: a recipe is read by parsing its lines one by one, without a bundle.
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE", help="the folder that hamsa-export wrote")
    parser.add_recipe('data = "photos" or min-cosine = 0.999')
    add = parser.add_argument_group("reference (default: the model that the bundle's manifest names)").add_argument
    add("--reference", type=Path, metavar="FILE",
        help="the checkpoint or ONNX file that the bundle was made from; its sha256 must be the manifest's")
    add("--against", type=Path, metavar="OTHER_BUNDLE",
        help="instead, another bundle: an older release, or the same model in float32")
    add("--model", metavar="NAME",
        help="for a bundle of your own model, the package.module:factory that it names, which is imported")
    add = parser.add_argument_group("images").add_argument
    add("--data", type=Path, metavar="PATH",
        help=DATA_HELP.format(labels_for="accuracy", default="built-in samples"))
    add("--labels", type=Path, metavar="FILE",
        help="class names in order of the logits, one per line, by which folders are classes (default: the bundle's)")
    add = parser.add_argument_group("limits (default: those of the bundle's precision)").add_argument
    # Each is a field of Thresholds.
    add("--max-error", dest="max_relative_error", type=amount, metavar="X",
        help="largest error of any value, relative to how far the values of that output and image are apart")
    add("--min-cosine", dest="cosine", type=share, metavar="0..1",
        help="smallest cosine of any image's output with the reference's")
    add("--min-correlation", dest="correlation", type=share, metavar="0..1",
        help="smallest correlation of what the inputs decide, which two networks with one bias or mask do not have")
    add("--min-rank", dest="rank", type=share, metavar="0..1",
        help="smallest rank correlation of logits, the mean of all images")
    add("--min-agreement", dest="top1", type=share, metavar="0..1",
        help="smallest share of images with the same top-1; where the reference itself cannot tell, both count")
    add("--min-snr", dest="signal_to_noise_db", type=amount, metavar="DB",
        help="smallest signal-to-noise ratio of any output, in decibels")
    add("--max-drop", type=points, metavar="POINTS",
        help="largest loss of top-1 accuracy, in percentage points, by the true classes of --data")
    add = parser.add_argument_group("where it begins").add_argument
    add("--layers", action="store_true",
        help="also compare layer by layer, on the first images, and fail at the first that leaves the band of its "
             "precision")
    add("--plot", type=svg_file, metavar="FILE.svg", help="with --layers, the error along depth as a drawing")
    parser.add_device("the bundle is compared on")
    add_report(parser, ".html", ".md", ".xml")
    parser.add_timeout()
    parser.add_common()
    return parser
# fmt: on


def options_from(argv: list[str]) -> Any:
    """The options of a command line, checked."""
    options = parser().options_from(argv)
    _check_options(options)
    return options


def _parity(options: Any, terminal: Terminal, command: Sequence[str]) -> int:
    _check_options(options)
    manifest = _check_names(options)
    reports = planned(options.report, options.bundle, command, terminal)
    with Stages(terminal, STAGES) as stages:
        with stages("load"):
            if manifest.preprocessing is not None:
                check_folder(options.data, manifest.preprocessing.channels)
            from hamsa_deploy.cli.parity_request import request_from_options

            request = request_from_options(options)
        report, layers = _compared(request, options, stages, reports)
        if reports is not None:
            with stages("report"):
                _write(reports, request, report, layers)
    return _shown(request, report, layers, terminal)


def _compared(
    request: ParityRequest, options: Any, stages: Stages, reports: Reports | None
) -> tuple[ParityReport, LayerReport | None]:
    """Both comparisons. Of one that cannot be finished there is a report, too: that is when people need it."""
    from hamsa_deploy.cli.parity_request import compare_request

    try:
        with stages("compare"):
            report = compare_request(request)
        layers = _layers(request, options.plot, stages) if options.layers else None
    except ParityError as error:
        if reports is not None:
            from hamsa_deploy.cli.parity_summary import write_failure

            write_failure(reports, request, error)
        raise
    return report, layers


def _write(reports: Reports, request: ParityRequest, report: ParityReport, layers: LayerReport | None) -> None:
    from hamsa_deploy.cli.parity_summary import write_result

    write_result(reports, request, report, layers)


def _layers(request: ParityRequest, plot: Path | None, stages: Stages) -> LayerReport:
    from hamsa_deploy.cli.parity_request import compare_layers
    from hamsa_deploy.report.files import write
    from hamsa_deploy.report.layers_plot import layers_drawing

    with stages("layers"):
        layers = compare_layers(request)
        if plot is not None:
            write(plot, layers_drawing(layers).as_file())
    return layers


def _check_options(options: Any) -> None:
    if options.bundle is None:
        raise InputError("no bundle", expected="hamsa parity BUNDLE --data PATH")
    others = [name for name in ("reference", "model") if getattr(options, name) is not None]
    if options.against is not None and others:
        raise InputError(
            f"--against with --{others[0]}", expected="one reference: another bundle, or what the bundle was made from"
        )
    if options.layers and options.against is not None:
        raise InputError("--layers with --against", expected="--layers with the PyTorch model that the bundle is of")
    if options.plot is not None and not options.layers:
        raise InputError("--plot without --layers", expected="--layers, whose errors it draws", fix="add --layers")
    if options.plot is not None:
        check_writable(options.plot, "--plot")


def _check_names(options: Any) -> Manifest:
    """All that options name, before PyTorch is loaded; returns the bundle's manifest.

    Raises:
        InputError, MissingError: what is not there.
    """
    manifest = open_bundle(options.bundle).manifest
    if options.against is not None:
        open_bundle(options.against)
    if options.model is not None:
        check_model(options.model)
    if options.reference is not None:
        check_received(options.reference, "weights or ONNX file", "the file that the bundle was made from")
    if options.labels is not None:
        read_labels(options.labels)
    check_there("--data", options.data)
    if options.against is None and not manifest.model.is_onnx_file:
        check_trusted(manifest.model, options.model)
    return manifest


def _shown(request: ParityRequest, report: ParityReport, layers: LayerReport | None, terminal: Terminal) -> int:
    """Print the reports; returns the exit code."""
    passed = report.passed and (layers is None or layers.passed)
    code = 0 if passed else ParityError.exit_code
    if terminal.as_json:
        head = {"verdict": "passed" if passed else "failed", "exit_code": code}
        body = report.as_dict() | ({} if layers is None else {"layers": layers.as_document()})
        terminal.write_json({**head, **request.as_dict(), "notes": terminal.notes, **body})
    else:
        if layers is not None:
            from hamsa_deploy.cli.parity_summary import show_layers

            show_layers(terminal.out, layers)
            terminal.out.print()
        from hamsa_deploy.cli.parity_summary import show_report

        show_report(terminal.out, request, report)
    if terminal.as_json or terminal.quiet:
        _show_failure(report, terminal)
        if layers is not None and not layers.passed:
            terminal.show_line(layers.sentence())
    return code


def _show_failure(report: ParityReport, terminal: Terminal) -> None:
    """On stderr, where the table is not shown."""
    try:
        report.require()
    except ParityError as error:
        terminal.show_error(error)


if __name__ == "__main__":
    sys.exit(main())
