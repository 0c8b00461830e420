"""What came of a comparison: metrics, limits, failures, and every image; for people, manifests and programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hamsa_deploy.parity.agreement import Agreement
from hamsa_deploy.parity.limits import way_out
from hamsa_deploy.parity.metrics import Thresholds
from hamsa_runtime.errors import ParityError
from hamsa_runtime.manifest import Parity

BETTER_CONDITIONED = (
    "let the model return what the precision settles, such as real and imaginary parts in place of an angle at its "
    "branch cut; or judge by limits of your own: check_parity(thresholds=), hamsa-parity --max-error"
)
NOT_THE_SAME = "the exported model does not compute what the original computes in this precision"
WORST = 10  # images that a report lists for each output


@dataclass(frozen=True)
class ParityReport:
    """The result of a comparison.

    Attributes:
        reference: what was compared with.
        images: number of images.
        metrics: output name -> metric name -> value.
        thresholds: what the verdict was taken by.
        failures: one sentence for each metric outside its threshold.
        engine: what ran the bundle, if that was not its own engine.
        note: why the thresholds are not those of the precision, and that the export compared it on another device;
            empty if neither is so.
        ill_conditioned: of a failure whose cause is the model itself, how far it moves by itself; else empty.
        agreements: output name -> what was found for each image. Not part of the manifest.
        image_names: of the images in the same order, where they have any.
        precision: of the bundle, or the lower of two bundles', whose limits these are.
        target: of the bundle.
        ran_on: what the engine says about itself: backend, version, device, and the precisions of its layers.
        bundle: the folder that was compared, if it was one.
    """

    reference: str
    images: int
    metrics: dict[str, dict[str, float]]
    thresholds: Thresholds
    failures: list[str]
    engine: str | None = None
    note: str = ""
    ill_conditioned: str = ""
    agreements: Mapping[str, Agreement] = field(default_factory=dict, repr=False)
    image_names: Sequence[str] = field(default=(), repr=False)
    precision: str = ""
    target: str = ""
    ran_on: Mapping[str, str] = field(default_factory=dict)
    bundle: Path | None = None

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def way_out(self) -> str:
        """What to do about a failure."""
        return BETTER_CONDITIONED if self.ill_conditioned else way_out(self.precision, self.target)

    @property
    def recorded(self) -> Parity:
        """The report as the bundle's manifest stores it."""
        return Parity(
            reference=self.reference,
            images=self.images,
            metrics=self.metrics,
            thresholds=self.thresholds.as_dict(),
            passed=self.passed,
            engine=self.engine,
            note=self.note,
            device=self.ran_on.get("device", ""),
        )

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self.as_dict(), indent=2, allow_nan=False)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values: what the manifest has, the failures, and the worst images of each output."""
        worst = {name: [self._image(name, i) for i in each.worst(WORST)] for name, each in self.agreements.items()}
        return {
            **asdict(self.recorded),
            "failures": self.failures,
            "ill_conditioned": self.ill_conditioned,
            "ran_on": dict(self.ran_on),
            "worst_images": worst,
        }

    def image_name(self, index: int) -> str:
        """What an image is called: by its file, or by its number."""
        return self.image_names[index] if self.image_names else str(index)

    def _image(self, output: str, index: int) -> dict[str, Any]:
        found = self.agreements[output]
        row: dict[str, Any] = {
            "index": index,
            "name": self.image_name(index),
            "relative_error": float(found.relative_error[index]),
            "cosine": float(found.cosine[index]),
        }
        if found.prediction is not None and found.reference_prediction is not None:
            row["prediction"] = int(found.prediction[index])
            row["reference_prediction"] = int(found.reference_prediction[index])
        if found.leading is not None and found.reference_leading is not None:
            row["leading"] = found.leading.of(index)
            row["reference_leading"] = found.reference_leading.of(index)
        if found.classes is not None:
            row["class"] = int(found.classes[index])
        return row

    @property
    def limits(self) -> str:
        """What the verdict was taken by, in words."""
        return ", ".join(f"{name} {limit:g}" for name, limit in self.thresholds.as_dict().items())

    def require(self, cause: str = "", fix: str = "") -> None:
        """Raise ParityError if the verdict is negative.

        Args:
            cause: where more is known of it than the report tells.
            fix: likewise.
        """
        if self.passed:
            return
        cause = cause or self.ill_conditioned or NOT_THE_SAME
        raise ParityError(
            "parity failed: " + "; ".join(self.failures),
            expected=self.limits,
            cause=cause + (f". {self.note}" if self.note else ""),
            fix=fix or self.way_out,
        )
