"""HAMSA against golden vectors, published sizes, and what exporters need of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from hamsa_deploy.models import HAMSA, MODELS, SASS, count_macs, count_parameters
from hamsa_deploy.models.checks import Norm
from hamsa_deploy.models.sass import sass
from hamsa_runtime.errors import InputError

GOLDEN = Path(__file__).parent.parent / "data" / "sass.npz"
# float64 sums of at most 197 terms: rounding stays under 1e-13; the data's own agreement is stated as 1e-10.
GOLDEN_TOLERANCE = 1e-10

# Published at 224 x 224 (arXiv 2604.14724): parameters in millions, multiply-accumulates in billions.
PUBLISHED = {"hamsa_s": (28, 4.9), "hamsa_b": (43, 7.7), "hamsa_l": (72, 14.7)}
PUBLISHED_TOLERANCE = 0.03

SMALL: dict[str, Any] = {
    "widths": (4, 6, 8, 10),
    "depths": (1, 1, 1, 1),
    "ffn_ratios": (2, 2, 2, 2),
    "num_classes": 3,
    "stem": (3, 2),
}


def small_model(**config: Any) -> HAMSA:
    torch.manual_seed(0)
    return HAMSA(**(SMALL | {"image_size": 32} | config)).eval()


@pytest.mark.parametrize("complex_w1", [True, False])
@pytest.mark.parametrize("case", ["square_odd", "square_even", "composite", "prime"])
def test_sass_agrees_with_golden_vectors(case: str, complex_w1: bool) -> None:
    with np.load(GOLDEN) as data:
        golden = {name.split("/")[1]: torch.from_numpy(data[name]) for name in data.files if name.startswith(case)}
    w1_imag = golden["w1_imag"] if complex_w1 else None
    names = ("u", "psi", "gate_weight", "gate_bias", "w1_real", "w2")
    y = sass(**{name: golden[name] for name in names}, w1_imag=w1_imag, norm="ortho")
    expected = golden["y_complex_w1" if complex_w1 else "y_real_w1"]
    assert y.dtype == torch.float64
    assert (y - expected).abs().max() <= GOLDEN_TOLERANCE


@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
@pytest.mark.parametrize("complex_w1", [True, False])
def test_sass_module_passes_its_parameters_to_the_function(norm: Norm, complex_w1: bool) -> None:
    torch.manual_seed(0)
    module = SASS((3, 5), 4, norm=norm, complex_w1=complex_w1).double()
    u = torch.randn(2, 15, 4, dtype=torch.float64)
    weights = dict(module.named_parameters())
    assert (weights.get("w1_imag") is not None) == complex_w1
    y = sass(u, w1_imag=weights.pop("w1_imag", None), norm=norm, **weights)
    assert torch.equal(module(u), y)


def test_fresh_kernels_have_unit_spectrum_for_every_norm() -> None:
    torch.manual_seed(0)
    for norm in get_args(Norm):
        psi = SASS((14, 14), 64, norm=norm).psi
        power = torch.fft.fft(torch.view_as_complex(psi), dim=0, norm=norm).abs().square().mean().item()
        # 12,544 exponentially distributed powers: their mean is 1 within 1 / sqrt(12544) = 0.009 (one sigma)
        assert power == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_meet_the_published_ones(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with torch.device("meta"):
        model = MODELS[name].factory(**MODELS[name].config)
    parameters, macs = count_parameters(model) / 1e6, count_macs(model, (3, 224, 224)) / 1e9
    published_parameters, published_macs = PUBLISHED[name]
    with capsys.disabled():
        print(  # noqa: T201 (a comparison is to be read, not only asserted)
            f"\n{name}: {parameters:.2f} M parameters (published {published_parameters}), "
            f"{macs:.2f} G MACs (published {published_macs})"
        )
    assert parameters == pytest.approx(published_parameters, rel=PUBLISHED_TOLERANCE)
    assert macs == pytest.approx(published_macs, rel=PUBLISHED_TOLERANCE)


def test_small_presets_are_small() -> None:
    with torch.device("meta"):
        nano, tiny = (MODELS[name].factory(**MODELS[name].config) for name in ("hamsa_nano", "hamsa_tiny"))
    assert count_parameters(nano) < 0.3e6
    assert count_parameters(tiny) == pytest.approx(5e6, rel=0.1)


@pytest.mark.parametrize(("complex_w1", "per_token"), [(True, 6), (False, 4)])
def test_macs_of_one_sass_are_counted_by_hand(complex_w1: bool, per_token: int) -> None:
    """W_g and W_2 take d^2 each per frequency, W_1 takes 4 d^2 or 2 d^2; 5 tokens, d = 4."""

    class OneRow(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sass = SASS((1, 5), 4, complex_w1=complex_w1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.sass(image.flatten(1, 2))

    assert count_macs(OneRow(), (1, 5, 4)) == 5 * per_token * 4**2


def test_outputs_and_feature_maps() -> None:
    images = torch.randn(2, 3, 32, 48)
    plain, pyramid = (small_model(image_size=(32, 48), features=on) for on in (False, True))
    outputs = pyramid(images)
    assert set(plain(images)) == {"logits", "embedding"}
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "logits": (2, 3),
        "embedding": (2, 10),
        "stage1": (2, 4, 16, 24),
        "stage2": (2, 6, 8, 12),
        "stage3": (2, 8, 4, 6),
        "stage4": (2, 10, 2, 3),
    }
    assert torch.equal(outputs["logits"], plain(images)["logits"])
    assert torch.equal(outputs["logits"], pyramid.head(outputs["embedding"]))


def test_images_of_a_batch_do_not_mix() -> None:
    model = small_model().double()
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    together = model(images)["logits"]
    alone = torch.cat([model(image[None])["logits"] for image in images])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)  # float64 sums in another order


def test_float32_follows_float64() -> None:
    model, images = small_model(), torch.randn(2, 3, 32, 32)
    single = model(images)["logits"]
    double = model.double()(images.double())["logits"]
    assert single.dtype == torch.float32
    # four blocks of about ten roundings each, at 6e-8
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-5)


@pytest.mark.parametrize("complex_w1", [True, False])
def test_exports_with_a_dynamic_batch(complex_w1: bool) -> None:
    model = small_model(features=True, complex_w1=complex_w1)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (torch.randn(2, 3, 32, 32),), dynamic_shapes=({0: batch},))
    for size in (1, 5):
        images = torch.randn(size, 3, 32, 32)
        exported, eager = program.module()(images), model(images)
        assert exported.keys() == eager.keys()
        for name, value in eager.items():
            torch.testing.assert_close(exported[name], value, rtol=0, atol=1e-6)  # the same kernels run
    operators = {str(node.target) for node in program.graph.nodes}
    whole = {"aten.linear.default", "aten.layer_norm.default", "aten.gelu.default", "aten.fft_fft.default"}
    assert whole <= operators


@pytest.mark.parametrize("image_size", [30, (32, 40), 0, -32])
def test_refuses_an_image_size_that_the_strides_do_not_divide(image_size: object) -> None:
    with pytest.raises(InputError, match="multiple of 16") as caught:
        small_model(image_size=image_size)
    assert "image_size=" in caught.value.fix


@pytest.mark.parametrize("bad", [{"widths": (4, 6, 8)}, {"depths": (1, 1, 0, 1)}, {"norm": "unitary"}])
def test_refuses_a_bad_configuration(bad: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        small_model(**bad)


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 1, 32, 32), (3, 32, 32)])
def test_refuses_images_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="images of shape"):
        small_model()(torch.zeros(shape))
