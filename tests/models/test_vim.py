"""Vim against the authors' implementation, by golden vectors and by parameter names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import hamsa_deploy
from hamsa_deploy.models import MODELS, Vim, count_parameters, load_model, load_weights
from hamsa_deploy.samples import digits
from hamsa_runtime import Engine
from hamsa_runtime.errors import InputError
from tests.models.golden import golden_data

# VisionMamba of hustvl/Vim, commit dd0358a, as its vim_tiny_.._with_midclstok_div2 but for the sizes below, after
# torch.manual_seed(0): its fresh parameters, each moved by 0.2 times a normal one, normal images, and its logits.
GOLDEN = Path(__file__).parent.parent / "data" / "vim.npz"
GOLDEN_TOLERANCE = 1e-5  # both in float32, whose sums differ in their order: 2.4e-7 measured
PARAMETERS = 7_148_008  # of the authors' vim_tiny
CHECKPOINT = {  # names and shapes of their vim_tiny, of the first of 24 layers
    "A_log": (384, 16),
    "A_b_log": (384, 16),
    "D": (384,),
    "D_b": (384,),
    "in_proj.weight": (768, 192),
    "conv1d.weight": (384, 1, 4),
    "conv1d.bias": (384,),
    "conv1d_b.weight": (384, 1, 4),
    "conv1d_b.bias": (384,),
    "x_proj.weight": (44, 384),
    "x_proj_b.weight": (44, 384),
    "dt_proj.weight": (384, 12),
    "dt_proj.bias": (384,),
    "dt_proj_b.weight": (384, 12),
    "dt_proj_b.bias": (384,),
    "out_proj.weight": (192, 384),
}


def golden_model() -> Vim:
    return Vim(width=24, depth=2, states=3, patch=4, image_size=(12, 8), num_classes=5).eval()


def test_agrees_with_the_authors(tmp_path: Path) -> None:
    state, x, y = golden_data(GOLDEN)
    torch.save({"model": state, "epoch": 300}, tmp_path / "checkpoint.pth")  # as they publish theirs
    model = golden_model()
    load_weights(model, tmp_path / "checkpoint.pth")
    with torch.no_grad():
        outputs = model(x)
    assert (outputs["logits"] - y).abs().max() <= GOLDEN_TOLERANCE
    assert outputs["embedding"].shape == (2, 24)
    torch.testing.assert_close(model.head(outputs["embedding"]), outputs["logits"])


def test_has_the_names_of_the_public_checkpoint() -> None:
    entry = MODELS["vim_tiny"]
    with torch.device("meta"):
        model = entry.factory(**entry.config)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    outside = {name: shape for name, shape in shapes.items() if not name.startswith("layers.")}
    assert outside == {
        "cls_token": (1, 1, 192),
        "pos_embed": (1, 197, 192),
        "patch_embed.proj.weight": (192, 3, 16, 16),
        "patch_embed.proj.bias": (192,),
        "norm_f.weight": (192,),
        "head.weight": (1000, 192),
        "head.bias": (1000,),
    }
    last = {name.removeprefix("layers.23."): shape for name, shape in shapes.items() if name.startswith("layers.23.")}
    assert last == {f"mixer.{name}": shape for name, shape in CHECKPOINT.items()} | {"norm.weight": (192,)}
    assert count_parameters(model) == PARAMETERS


def test_images_of_a_batch_do_not_mix() -> None:
    model = golden_model()
    images = torch.randn(3, 3, 12, 8, generator=torch.manual_seed(0))
    with torch.no_grad():
        together, alone = model(images)["logits"], model(images[1:2])["logits"]
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-6)


def test_each_direction_reads_from_its_own_end() -> None:
    mixer = golden_model().layers[0].get_submodule("mixer")
    h = torch.randn(1, 7, 24, generator=torch.manual_seed(0))
    turned = mixer.state_dict()
    for name in ("conv1d.weight", "conv1d.bias", "x_proj.weight", "dt_proj.weight", "dt_proj.bias", "D"):
        other = name.replace(".", "_b.") if "." in name else f"{name}_b"
        turned[name], turned[other] = turned[other], turned[name]
    with torch.no_grad():
        expected = mixer(h)
        mixer.load_state_dict({name: value.clone() for name, value in turned.items()})
        torch.testing.assert_close(mixer(h.flip(1)).flip(1), expected)


def test_exports_with_a_dynamic_batch() -> None:
    model = golden_model()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (torch.randn(2, 3, 12, 8),), dynamic_shapes=({0: batch},))
    images = torch.randn(3, 3, 12, 8, generator=torch.manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            program.module()(images)["logits"], model(images)["logits"], rtol=0, atol=1e-6
        )  # the same kernels run


def test_refuses_an_image_size_that_patches_do_not_divide() -> None:
    with pytest.raises(InputError, match="multiple of 16") as caught:
        Vim(width=24, image_size=200)
    assert caught.value.fix == "image_size=192"


def test_refuses_images_of_another_size() -> None:
    with pytest.raises(InputError, match="the size that the model was built for"):
        golden_model()(torch.zeros(1, 3, 8, 12))


def test_the_trained_one_becomes_a_bundle_that_reads_digits_as_its_card_says(tmp_path: Path) -> None:
    (images, classes), weights = digits(), MODELS["vim_nano"].weights
    assert weights is not None
    hamsa_deploy.export(
        load_model("vim_nano"),
        to="onnx",
        output=tmp_path / "bundle",
        preprocessing=MODELS["vim_nano"].preprocessing,
        data=list(images[:4]),
    )
    graph = onnx.load(tmp_path / "bundle" / "model.onnx").graph
    scans = [node for node in graph.node if node.op_type == "Scan"]
    assert len(scans) == MODELS["vim_nano"].config["depth"], "each layer has one scan for both directions"
    with Engine(tmp_path / "bundle") as engine:
        read = [int(best[0][0]) for best in engine.classify(list(images), top=1)]
    stated = re.search(r"\((\d+) of 360\)", weights.with_suffix(".md").read_text(encoding="utf-8"))
    assert stated is not None
    # other CPUs round differently, which may tip an image that lies between two classes
    assert abs(int((np.array(read) == classes).sum()) - int(stated[1])) <= 1
