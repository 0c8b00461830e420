"""For tests of your own: a bundle that does not compute what it should is a failed assertion.

from hamsa_deploy.testing import assert_parity

def test_the_release_agrees_with_the_model():
    assert_parity("out/digits", model, images, precision="int8")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamsa_runtime.bundle import open_bundle

if TYPE_CHECKING:
    from torch import nn

    from hamsa_deploy.onnx_entrance import OnnxFile
    from hamsa_deploy.parity import ParityReport
    from hamsa_deploy.parity.metrics import Thresholds

WORST = 5  # images that a failure lists for each output


def assert_parity(
    bundle: str | Path,
    reference: nn.Module | OnnxFile | str | Path,
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
        AssertionError: the bundle is in another precision, or outside its limits: with the worst images.
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
    assert report.passed, failure_text(bundle, report)
    return report


def failure_text(bundle: str | Path, report: ParityReport) -> str:
    """What failed, by which limits, and on which images most."""
    lines = [f"{bundle} is outside its limits, compared with {report.reference} on {report.images} inputs:"]
    lines += [f"  {failure}" for failure in report.failures]
    for name, rows in report.as_dict()["worst_images"].items():
        lines.append(f"  worst of {name}:")
        lines += [f"    {_image_text(row)}" for row in rows[:WORST]]
    return "\n".join(lines)


def _image_text(row: dict[str, Any]) -> str:
    text = f"{row['name']}: relative error {row['relative_error']:.1e}, cosine {row['cosine']:.6f}"
    if "prediction" in row:
        text += f", class {row['prediction']} instead of {row['reference_prediction']}"
    return text
