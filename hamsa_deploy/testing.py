"""For tests of your own: a bundle that does not compute what it should is a failed assertion.

from hamsa_deploy.testing import assert_parity

def test_the_release_agrees_with_the_model():
    assert_parity("out/digits", model, images, precision="int8")
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamsa_runtime.bundle import open_bundle

if TYPE_CHECKING:
    from torch import nn

    from hamsa_deploy.onnx_import import OnnxFile
    from hamsa_deploy.parity import ParityReport
    from hamsa_deploy.parity.layers import LayerReport, LayerRow
    from hamsa_deploy.parity.metrics import Thresholds

    Reference = nn.Module | OnnxFile | str | Path

WORST = 5  # images that a failure lists for each output, and layers
LAYER_IMAGES = 4  # the worst images, on which layers are compared


def assert_parity(
    bundle: str | Path,
    reference: Reference,
    data: Any,
    *,
    precision: str | None = None,
    thresholds: Thresholds | None = None,
    classes: Sequence[int] | None = None,
) -> ParityReport:
    """Compare a bundle with its original or with another bundle.

    Args:
        bundle: the folder; its files are checked against their hashes.
        reference: the PyTorch model in eval mode, the ONNX file, or the folder of another bundle.
        data: see `hamsa_deploy.check_parity`.
        precision: what the bundle has to be in; None for any.
        thresholds: by default those of the bundle's precision.
        classes: the true class of each of `data`.

    Returns:
        The report, for further assertions on its metrics.

    Raises:
        AssertionError: the bundle is in another precision, or outside its limits: with the worst images and layers.
        ParityError: an output is NaN, empty or of another shape.
        InputError: the bundle is damaged, or the data do not fit it.
    """
    __tracebackhide__ = True
    from hamsa_deploy.parity import check_against, check_parity

    found = open_bundle(bundle).manifest.precision
    assert precision in (None, found), f"{bundle} is in {found}, not in {precision}"
    if isinstance(reference, str | Path):
        report = check_against(bundle, reference, data, thresholds=thresholds, classes=classes)
    else:
        report = check_parity(bundle, reference, data, thresholds=thresholds, classes=classes)
    if not report.passed:
        raise AssertionError(failure_text(bundle, report, reference, data))
    return report


def failure_text(bundle: str | Path, report: ParityReport, reference: Reference, data: Any) -> str:
    """What failed, by which limits, on which images most, and at which layers.

    Args:
        bundle, reference, data: what was compared, as for `assert_parity`. The layers are compared here, which takes
            a while.
        report: of that comparison.
    """
    lines = [f"{bundle} is outside its limits, compared with {report.reference} on {report.images} inputs:"]
    lines += [f"  {failure}" for failure in report.failures]
    lines += [f"  {report.ill_conditioned}"] if report.ill_conditioned else []
    for name, rows in report.as_dict()["worst_images"].items():
        lines.append(f"  worst of {name}:")
        lines += [f"    {_image_text(row)}" for row in rows[:WORST]]
    return "\n".join(lines + [f"  {line}" for line in _layer_lines(bundle, report, reference, data)])


def _layer_lines(bundle: str | Path, report: ParityReport, reference: Reference, data: Any) -> list[str]:
    """The first layer that differs and the worst of all; or why layers cannot be compared, in one line."""
    from torch import nn

    from hamsa_deploy.parity.layers import layer_report

    if not isinstance(reference, nn.Module):
        return ["layers: not compared, which needs the PyTorch model; the reference is another bundle or an ONNX file"]
    try:
        with _without_traces():
            found = layer_report(bundle, reference, _worst_data(report, data), LAYER_IMAGES)
    except Exception as error:  # noqa: BLE001  # whatever happens here, the verdict above must be seen
        return [f"layers: not compared: {str(error).splitlines()[0] if str(error) else type(error).__name__}"]
    return [f"layers: {found.sentence()}", *_worst_layers(found)]


@contextlib.contextmanager
def _without_traces() -> Iterator[None]:
    """torch.export logs hundreds of lines, which pytest would show beside the failure."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.DEBUG))
    try:
        yield
    finally:
        logging.disable(before)


def _worst_data(report: ParityReport, data: Any) -> Any:
    """The images with the largest errors; all of the data of a model of arrays."""
    if isinstance(data, dict) or not hasattr(data, "__getitem__"):
        return data
    agreement = next(iter(report.agreements.values()))
    return [data[index] for index in agreement.worst(LAYER_IMAGES)]


def _worst_layers(found: LayerReport) -> list[str]:
    """The rows that leave their band by the largest factors."""
    rows = sorted((row for row in found.rows if row.outside), key=_excess, reverse=True)[:WORST]
    return ["worst layers:"] * bool(rows) + [
        f"  {row.module} ({row.operator}): own error {row.own_error:.1e}, band {row.band:.1e}, error {row.error:.1e}"
        for row in rows
    ]


def _excess(row: LayerRow) -> float:
    factor = row.own_error / row.band
    return math.inf if math.isnan(factor) else factor


def _image_text(row: dict[str, Any]) -> str:
    text = f"{row['name']}: relative error {row['relative_error']:.1e}, cosine {row['cosine']:.6f}"
    if "prediction" in row and row["prediction"] != row["reference_prediction"]:
        text += f", class {row['prediction']} instead of {row['reference_prediction']}"
    return text
