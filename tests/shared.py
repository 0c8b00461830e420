"""What several tests need and takes long to make: made once for a run, by the worker that comes first."""

from __future__ import annotations

import contextlib
import fcntl
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import pytest

import hamsa_deploy
from hamsa_deploy.form.from_request import real_model_of_request
from hamsa_deploy.form.real_model import RealModel
from hamsa_deploy.form.request import Request
from hamsa_deploy.models import load_model, model_entry
from hamsa_deploy.models.registry import bundled_weights
from hamsa_deploy.samples import digits
from hamsa_runtime.bundle import Bundle, open_bundle, sha256_of

# Images that the bundles are compared on, and those that int8 is calibrated on.
COMPARED, CALIBRATED = slice(0, 40), slice(40, 140)


# From the name of a folder, and what fills it.
Once = Callable[[str, Callable[[Path], None]], Path]


def made_once(base: Path, worker: str, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that all workers of a run share; it is there once `make` has returned.

    Args:
        base: pytest's base folder of this worker.
        worker: "master" without workers.
        name: of the folder.
        make: fills a folder. If it raises, the next one tries again.
    """
    shared = (base if worker == "master" else base.parent) / "shared"
    shared.mkdir(exist_ok=True)
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / f"{name}.done").exists():
            make(shared / name)
            (shared / f"{name}.done").touch()
    return shared / name


def export_nano(folder: Path, to: str, precision: str) -> None:
    """hamsa_nano as the command exports it, compared on 40 digits, its int8 calibrated on 100 others."""
    entry, (images, _) = model_entry("hamsa_nano"), digits()
    weights = bundled_weights(entry, {})
    assert weights is not None
    hamsa_deploy.export(
        load_model("hamsa_nano"),
        to=to,
        precision=precision,
        output=folder,
        name="hamsa_nano",
        preprocessing=entry.preprocessing,
        labels=entry.labels,
        data=list(images[COMPARED]),
        provenance={
            "reference": "hamsa_nano",
            "config": {},
            "weights": {"file": weights.name, "sha256": sha256_of(weights)[0]},
        },
        calibration=list(images[CALIBRATED]) if precision == "int8" else None,
        calibration_method="percentile" if precision == "int8" else "auto",
    )


def skip_what_openvino_cannot_run(precision: str) -> None:
    """Skip where this processor has no kernels for a precision: the export refuses it, as the runtime's tests show."""
    import openvino

    capability = {"fp32": "FP32", "fp16": "FP16", "bf16": "BF16", "int8": "INT8"}[precision]
    if capability not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip(f"this CPU cannot run {precision}: the export refuses it, see the runtime's tests")


class Nano:
    """Bundles of hamsa_nano, not to be changed: tests that change one make a copy."""

    def __init__(self, base: Path, worker: str) -> None:
        self._base, self._worker = base, worker

    def __call__(self, to: str, precision: str = "fp32") -> Bundle:
        """The bundle for a target; skips where this processor cannot run it."""
        if to == "openvino":
            skip_what_openvino_cannot_run(precision)

        def make(folder: Path) -> None:
            with self.form(to):
                export_nano(folder, to, precision)

        return open_bundle(made_once(self._base, self._worker, f"nano-{to}-{precision}", make))

    @contextlib.contextmanager
    def form(self, to: str) -> Iterator[None]:
        """While it lasts, exports of hamsa_nano take the real form that the first one for this target made: ten of the
        twelve seconds of each, and the same for every precision."""
        folder = made_once(self._base, self._worker, f"nano-{to}-form", lambda path: _keep_form(path, to))
        kept: RealModel = pickle.loads((folder / "form.pickle").read_bytes())  # noqa: S301  # ours

        def write(path: Path) -> ir.Model:
            shutil.copy(folder / "model.onnx", path)
            return ir.load(path)

        def form_of(request: Request) -> RealModel:
            asked = (type(request.model).__name__, request.to, request.batch, request.input_dtype, request.fft)
            assert asked == ("HAMSA", to, None, "uint8", "real")
            return replace(kept, write=write)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hamsa_deploy.pipeline.run.real_model_of_request", form_of)
            yield


def _keep_form(folder: Path, to: str) -> None:
    folder.mkdir()
    request = Request(load_model("hamsa_nano"), to=to, preprocessing=model_entry("hamsa_nano").preprocessing)
    form = real_model_of_request(request)
    form.write(folder / "model.onnx")
    kept = replace(form, write=None, program=None)  # type: ignore[arg-type]  # no closure; a traced module is not loaded
    (folder / "form.pickle").write_bytes(pickle.dumps(kept))
