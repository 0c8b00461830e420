"""From the options of hamsa-parity to a comparison. Imports torch, so it is imported once the options are good."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from hamsa_deploy.cli.files import import_from_here, read_labels
from hamsa_deploy.cli.inputs import declared_examples
from hamsa_deploy.form.from_request import called, example_data
from hamsa_deploy.inputs.files import kind_of_data, read_classes, read_data
from hamsa_deploy.models import model_entry
from hamsa_deploy.onnx_import import OnnxFile
from hamsa_deploy.parity import ParityReport, check_against, check_parity
from hamsa_deploy.parity.comparison import usual_thresholds
from hamsa_deploy.parity.metrics import Thresholds
from hamsa_deploy.parity.original import declared_faults, order_faults, original_of
from hamsa_deploy.samples import sample_classes, sample_images
from hamsa_runtime.backends import check_device
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import is_folder
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.outputs import LOGITS, classes_in
from hamsa_runtime.trial import try_bundle
from hamsa_runtime.vocabulary import is_of_hub

if TYPE_CHECKING:
    from hamsa_deploy.parity.layers import LayerReport

BUILT_IN, RANDOM = "built-in samples", "random arrays"
# Limits on classes, with their options.
OF_CLASSES = {"top1": "--min-agreement", "max_drop": "--max-drop"}


@dataclass(frozen=True)
class ParityRequest:
    """What to compare with what.

    Attributes:
        bundle: the folder.
        manifest: of the bundle.
        reference: the original, or another bundle's folder.
        reference_text: what the reference is, for people.
        data, data_text: the images (or arrays), and where they come from.
        classes: the true class of each, or None.
        labels: the names of the classes, or None.
        thresholds: None for the usual ones.
        faults: what the manifest says wrongly, whatever the outputs are.
        device: that the bundle runs on; None for its engine's default.
    """

    bundle: Path
    manifest: Manifest
    reference: nn.Module | OnnxFile | Path
    reference_text: str
    data: Any
    data_text: str
    classes: Sequence[int] | None
    labels: Sequence[str] | None
    thresholds: Thresholds | None
    faults: Sequence[str]
    device: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """What a report starts with."""
        return {
            "bundle": str(self.bundle),
            "name": self.manifest.name,
            "target": self.manifest.target,
            "precision": self.manifest.precision,
            "compared_with": self.reference_text,
            "data": self.data_text,
        }


def request_from_options(options: Any) -> ParityRequest:
    """Open the bundle and load the reference and the images.

    Raises:
        InputError: any of it does not exist, cannot be read, or does not fit together.
    """
    manifest = open_bundle(options.bundle).manifest
    check_device(manifest.target, options.device)
    other = None if options.against is None else open_bundle(options.against).manifest
    for bundle in (options.bundle, *([options.against] if other else [])):
        try_bundle(bundle, seconds=options.timeout)
    labels = manifest.labels if options.labels is None else read_labels(options.labels)
    classes = _classes(options, manifest, labels)
    _check_decisions(options, manifest, classes)
    return ParityRequest(
        bundle=options.bundle,
        manifest=manifest,
        reference=_reference(options, manifest),
        reference_text=_reference_text(options, manifest, other),
        data=_data(options, manifest),
        data_text=str(options.data or (BUILT_IN if manifest.preprocessing or manifest.audio else RANDOM)),
        classes=classes,
        labels=labels,
        thresholds=_thresholds(options, manifest, other),
        faults=_faults(manifest, other),
        device=options.device,
    )


def compare_request(request: ParityRequest) -> ParityReport:
    """The comparison, with the faults of the manifest among the failures."""
    given: dict[str, Any] = {
        "thresholds": request.thresholds,
        "classes": request.classes,
        "device": request.device,
    }
    if isinstance(request.reference, Path):
        report = check_against(request.bundle, request.reference, request.data, **given)
    else:
        report = check_parity(request.bundle, request.reference, request.data, **given)
    return dataclasses.replace(report, failures=[*request.faults, *report.failures])


def compare_layers(request: ParityRequest) -> LayerReport:
    """The comparison layer by layer, which needs the PyTorch model."""
    from hamsa_deploy.parity.layers import layer_report

    if not isinstance(request.reference, nn.Module):
        raise InputError(
            f"--layers against {request.reference_text}", expected="a bundle of a PyTorch model, whose layers are known"
        )
    return layer_report(request.bundle, request.reference, request.data, device=request.device)


def _reference(options: Any, manifest: Manifest) -> nn.Module | OnnxFile | Path:
    if options.against is not None:
        return Path(options.against)
    if options.model is not None:
        import_from_here()
    original = original_of(manifest, options.reference, options.model)
    if options.model is None or is_of_hub(options.model) or not isinstance(original, nn.Module):
        return original  # hubs know of no example inputs, and would be asked once more
    return called(original, declared_examples(model_entry(options.model).factory, original))


def _reference_text(options: Any, manifest: Manifest, other: Manifest | None) -> str:
    if other is not None:
        return f"{options.against}: {other.name} for {other.target}, {other.precision}"
    model = manifest.model
    if model.is_onnx_file:
        return f"{model.reference} in float64, by onnx.reference"
    weights = "random weights" if ":" not in model.reference else "weights as the factory makes them"
    weights = "the hub's weights" if is_of_hub(model.reference) else weights
    if model.weights is not None:
        weights = f"{model.weights.file}, sha256 {model.weights.sha256[:12]}"
    return f"{model.reference} in PyTorch, {weights}"


def _data(options: Any, manifest: Manifest) -> Any:
    if options.data is not None:
        return read_data(options.data, kind_of_data(manifest.preprocessing, manifest.audio))
    return sample_images(manifest.name) if manifest.preprocessing else example_data(manifest)


def _classes(options: Any, manifest: Manifest, labels: Sequence[str] | None) -> list[int] | None:
    if manifest.preprocessing is None:
        return None
    width = _number_of_classes(manifest)
    if labels is not None and width is not None and len(labels) != width:
        raise InputError(
            f"{len(labels)} labels for a model with {width} classes", expected=f"{width}, in order of the logits"
        )
    if options.data is None:
        return sample_classes(manifest.name) if width else None
    classes = read_classes(options.data, labels) if width else None
    if classes is not None and labels is None and is_folder(options.data) and max(classes) + 1 != width:
        raise InputError(
            f"{options.data}: {max(classes) + 1} folders for a model with {width} classes",
            expected="a folder for each class, or the names of the classes",
            cause="the bundle has no labels, and folders alone do not say which of the classes they are",
            fix="--labels FILE, with the names of the folders in order of the logits",
        )
    return classes


def _check_decisions(options: Any, manifest: Manifest, classes: Sequence[int] | None) -> None:
    """A limit on classes where nobody knows any would be a check that is never made."""
    if _number_of_classes(manifest) is None:
        for name, option in OF_CLASSES.items():
            if getattr(options, name) is not None:
                found = ", ".join(spec.name for spec in manifest.outputs)
                raise InputError(
                    f"{option} for a bundle without logits",
                    expected=f"an output called {LOGITS!r}; this bundle has {found}",
                    fix="--min-cosine, --max-error or --min-snr, which judge any output",
                )
    if options.max_drop is not None and classes is None:
        raise InputError(
            f"--max-drop without the true classes of {options.data or BUILT_IN}",
            expected="a folder for each class, or whole numbers under 'labels' in the .npz",
            fix="--min-agreement 0.99, which compares both models with one another",
        )


def _number_of_classes(manifest: Manifest) -> int | None:
    shapes = {spec.name: spec.shape for spec in manifest.outputs}
    return classes_in(shapes.get(LOGITS, ()))


def _thresholds(options: Any, manifest: Manifest, other: Manifest | None) -> Thresholds | None:
    """Those of the precision, with what the options say otherwise; None if they say nothing."""
    names = [field.name for field in dataclasses.fields(Thresholds)]
    given = {name: getattr(options, name) for name in names if getattr(options, name, None) is not None}
    usual = usual_thresholds(manifest) if other is None else usual_thresholds(manifest, other)
    return dataclasses.replace(usual, **given) if given else None


def _faults(manifest: Manifest, other: Manifest | None) -> list[str]:
    if other is not None:
        return order_faults(manifest.labels, other.labels, "the reference")
    return declared_faults(manifest)
