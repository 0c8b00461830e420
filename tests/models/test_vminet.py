"""VMINet against the authors' implementation, by golden vectors and by parameter names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hamsa_deploy.models import MODELS, VMINet
from hamsa_runtime.errors import InputError

GOLDEN = Path(__file__).parent.parent / "data" / "vminet.npz"
GOLDEN_TOLERANCE = 1e-10  # as for SASS


def golden_model(**config: Any) -> VMINet:
    return VMINet(base=8, depths=(1, 1, 2, 1), mlp_ratio=2, image_size=32, num_classes=5, **config).eval()


def golden_data() -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """The authors' state dict, an input and its logits."""
    with np.load(GOLDEN) as data:
        tensors = {name: torch.from_numpy(data[name]) for name in data.files}
    state = {name.removeprefix("state/"): tensors[name] for name in tensors if name.startswith("state/")}
    return state, tensors["x"], tensors["y"]


def test_agrees_with_the_authors() -> None:
    state, x, y = golden_data()
    model = golden_model().double()
    loaded = model.load_state_dict(state, strict=False)
    assert not loaded.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in loaded.missing_keys)
    with torch.no_grad():
        logits = model(x)["logits"]
    assert logits.dtype == torch.float64
    assert (logits - y).abs().max() <= GOLDEN_TOLERANCE


def test_outputs_and_feature_maps() -> None:
    outputs = golden_model(features=True)(torch.randn(2, 3, 32, 32))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "logits": (2, 5),
        "embedding": (2, 64),
        "stage1": (2, 8, 8, 8),
        "stage2": (2, 16, 4, 4),
        "stage3": (2, 32, 2, 2),
        "stage4": (2, 64, 1, 1),
    }


def test_exports_with_a_dynamic_batch() -> None:
    model = golden_model()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (torch.randn(2, 3, 32, 32),), dynamic_shapes=({0: batch},))
    images = torch.randn(5, 3, 32, 32)
    torch.testing.assert_close(
        program.module()(images)["logits"], model(images)["logits"], rtol=0, atol=1e-6
    )  # the same kernels run


@pytest.mark.parametrize(
    ("name", "width", "hidden"),
    [("vminet_ti", 24, 48), ("vminet_xs", 48, 96), ("vminet_s", 48, 192), ("vminet_b", 96, 192)],
)
def test_presets(name: str, width: int, hidden: int) -> None:
    with torch.device("meta"):
        state = MODELS[name].factory(**MODELS[name].config).state_dict()
    assert state["stages.0.1.f1.conv.weight"].shape == (hidden, width, 1, 1)
    assert state["stages.2.18.sum.weight"].shape == (1, 14 * 14)
    assert state["head.weight"].shape == (1000, 8 * width)
    assert "stages.2.19.stack" not in state


def test_refuses_an_image_size_that_the_strides_do_not_divide() -> None:
    with pytest.raises(InputError, match="multiple of 32"):
        VMINet(base=8, depths=(1, 1, 2, 1), mlp_ratio=2, image_size=48)
