"""Devices that few machines have: where one is here, it computes what the model does; else why it is not is printed."""

from __future__ import annotations

import numpy as np
import pytest

from hamsa_runtime import Engine
from hamsa_runtime.backends import check_device
from hamsa_runtime.backends.providers import PROVIDERS
from hamsa_runtime.errors import MissingError

from .tiny_bundles import MakeBundle, reference

OF_OPENVINO = [("openvino", "GPU", "fp32"), ("openvino", "HETERO:GPU,CPU", "fp32"), ("openvino", "NPU", "fp16")]
OF_ONNXRUNTIME = [("onnx", kind, "fp32") for kind in PROVIDERS if kind not in ("CPU", "WEBGPU")]
# As in test_backends: half a unit in the last place, times the roundings on the way to a logit.
ROUNDING = {"fp32": 1e-6, "fp16": 2e-3}


@pytest.mark.parametrize(("target", "device", "precision"), OF_OPENVINO + OF_ONNXRUNTIME)
def test_it_computes_what_the_model_does(
    make_bundle: MakeBundle,
    pixels: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    device: str,
    precision: str,
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    try:
        check_device(target, device)
    except MissingError as error:
        pytest.skip(f"{error.found}: {error.cause or error.fix or error.expected}")
    expected = reference(pixels)["logits"]
    with Engine(make_bundle(target, precision=precision), device=device) as engine:
        found, facts = engine(pixels)["logits"], engine.describe()
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING[precision] * np.abs(expected).max())
    assert facts["device"] == device
