"""VMamba against the authors' implementation, by golden vectors and by parameter names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hamsa_deploy.models import MODELS, VMamba, count_parameters, load_weights
from hamsa_deploy.models.vmamba import DIRECTIONS, in_line, merged
from hamsa_runtime.errors import InputError
from tests.models.golden import golden_data

# VSSM of MzeroMiko/VMamba, commit 2ed52ea, as its vmamba_tiny_s1l8 but for the sizes below, after torch.manual_seed(0):
# its fresh parameters, each moved by 0.2 times a normal one, normal images, and its logits.
GOLDEN = Path(__file__).parent.parent / "data" / "vmamba.npz"
GOLDEN_TOLERANCE = 1e-5  # both in float32, whose sums differ in their order: 4.2e-7 measured
PARAMETERS = 30_249_064  # of the authors' vmamba_tiny_s1l8
CHECKPOINT = {  # names and shapes of its last block
    "norm.weight": (768,),
    "norm.bias": (768,),
    "op.x_proj_weight": (4, 50, 768),
    "op.A_logs": (3072, 1),
    "op.Ds": (3072,),
    "op.dt_projs_weight": (4, 768, 48),
    "op.dt_projs_bias": (4, 768),
    "op.out_norm.weight": (768,),
    "op.out_norm.bias": (768,),
    "op.in_proj.weight": (768, 768),
    "op.conv2d.weight": (768, 1, 3, 3),
    "op.out_proj.weight": (768, 768),
    "norm2.weight": (768,),
    "norm2.bias": (768,),
    "mlp.fc1.weight": (3072, 768),
    "mlp.fc1.bias": (3072,),
    "mlp.fc2.weight": (768, 3072),
    "mlp.fc2.bias": (768,),
}


def golden_model() -> VMamba:
    model = VMamba(base=4, depths=(1, 1, 2, 1), states=2, ssm_ratio=2, image_size=(64, 32), num_classes=5)
    return model.eval()


def test_agrees_with_the_authors(tmp_path: Path) -> None:
    state, x, y = golden_data(GOLDEN)
    torch.save({"model": state, "epoch": 264}, tmp_path / "checkpoint.pth")  # as they publish theirs
    model = golden_model()
    load_weights(model, tmp_path / "checkpoint.pth")
    with torch.no_grad():
        outputs = model(x)
    assert (outputs["logits"] - y).abs().max() <= GOLDEN_TOLERANCE
    assert outputs["embedding"].shape == (2, 32)


def test_has_the_names_of_the_public_checkpoint() -> None:
    entry = MODELS["vmamba_t"]
    with torch.device("meta"):
        model = entry.factory(**entry.config)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    outside = {name: shape for name, shape in shapes.items() if ".blocks." not in name}
    assert set(outside) == {
        f"{module}.{parameter}"
        for parameter in ("weight", "bias")
        for module in (
            *(f"patch_embed.{place}" for place in (0, 2, 5, 7)),
            *(f"layers.{stage}.downsample.{place}" for stage in (0, 1, 2) for place in (1, 3)),
            "classifier.norm",
            "classifier.head",
        )
    }
    assert outside["patch_embed.5.weight"] == (96, 48, 3, 3)
    assert outside["layers.2.downsample.1.weight"] == (768, 384, 3, 3)
    assert outside["classifier.head.weight"] == (1000, 768)
    place = "layers.3.blocks.1."
    assert {name.removeprefix(place): shapes[name] for name in shapes if name.startswith(place)} == CHECKPOINT
    assert count_parameters(model) == PARAMETERS


def test_pixels_are_read_along_rows_and_columns_from_both_ends() -> None:
    image = torch.arange(6.0).view(1, 2, 3, 1)
    read = [in_line(image, direction)[0, :, 0].tolist() for direction in range(DIRECTIONS)]
    assert read == [[0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5], [5, 4, 3, 2, 1, 0], [5, 2, 4, 1, 3, 0]]


def test_each_pixel_comes_back_to_its_place() -> None:
    image = torch.randn(2, 3, 4, 5, generator=torch.manual_seed(0))
    lines = [in_line(image, direction) for direction in range(DIRECTIONS)]
    torch.testing.assert_close(merged(lines, 3, 4), DIRECTIONS * image)


def test_images_of_a_batch_do_not_mix() -> None:
    model = golden_model()
    images = torch.randn(3, 3, 64, 32, generator=torch.manual_seed(0))
    with torch.no_grad():
        together, alone = model(images)["logits"], model(images[1:2])["logits"]
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-6)


def test_exports_with_a_dynamic_batch() -> None:
    model = golden_model()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (torch.randn(2, 3, 64, 32),), dynamic_shapes=({0: batch},))
    images = torch.randn(3, 3, 64, 32, generator=torch.manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            program.module()(images)["logits"], model(images)["logits"], rtol=0, atol=1e-6
        )  # the same kernels run


def test_refuses_an_image_size_that_the_strides_do_not_divide() -> None:
    with pytest.raises(InputError, match="multiple of 32"):
        VMamba(base=4, depths=(1, 1, 1, 1), image_size=48)


def test_refuses_images_of_another_size() -> None:
    with pytest.raises(InputError, match="the size that the model was built for"):
        golden_model()(torch.zeros(1, 3, 32, 64))
