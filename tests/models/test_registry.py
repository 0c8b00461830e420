"""The table of models, and building from it."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hamsa_deploy.models import (
    MODELS,
    Preprocessing,
    count_parameters,
    load_checkpoint,
    load_model,
    model_entry,
)
from hamsa_deploy.models.catalogue import options_of
from hamsa_deploy.models.registry import FAMILIES
from hamsa_runtime.errors import InputError

USER_MODULE = """
from torch import nn

def net(width=4):
    return nn.Linear(width, 2)

def no_net():
    return "a string"

number = 3
"""


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_nets_of_a_user.py").write_text(USER_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "my_nets_of_a_user"


@pytest.mark.parametrize("name", MODELS)
def test_every_entry_builds_and_fits_its_preprocessing(name: str) -> None:
    entry = MODELS[name]
    with torch.device("meta"):
        model = entry.factory(**entry.config)
        assert entry.preprocessing is not None
        images = torch.zeros(1, entry.preprocessing.channels, *entry.preprocessing.size)
    logits = model(images)["logits"]
    assert logits.shape == (1, len(entry.labels) if entry.labels else 1000)
    assert entry.description
    assert count_parameters(model) > 0


@pytest.mark.parametrize("name", ["hamsa_nano", "vim_nano"])
def test_nano_comes_trained(name: str) -> None:
    weights = MODELS[name].weights
    assert weights is not None
    assert weights.stat().st_size < 1.2e6
    trained = load_checkpoint(weights)
    for model in (load_model(name), load_model(name, num_classes=10)):
        assert not model.training
        for key, value in model.state_dict().items():
            assert torch.equal(value, trained[key]), key


def head_of(model: nn.Module) -> torch.Tensor:
    return model.state_dict()["head.weight"]


def test_features_keep_the_bundled_weights() -> None:
    trained, pyramid = load_model("hamsa_nano"), load_model("hamsa_nano", features=True)
    assert torch.equal(head_of(trained), head_of(pyramid))
    assert "stage4" in pyramid(torch.zeros(1, 3, 32, 32))


def test_another_architecture_gets_random_weights_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="hamsa_deploy"):
        model = load_model("hamsa_nano", norm="backward")
    assert not torch.equal(head_of(model), head_of(load_model("hamsa_nano")))
    assert "random initialisation" in caplog.text


def test_random_initialisation_repeats_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = load_model("hamsa_nano", num_classes=7)
    assert torch.equal(torch.rand(3), expected)
    second = load_model("hamsa_nano", num_classes=7)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_loads_given_weights(tmp_path: Path) -> None:
    source = load_model("hamsa_nano", num_classes=7)
    state = {name: value + 1 for name, value in source.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    loaded = load_model("hamsa_nano", weights=tmp_path / "w.safetensors", num_classes=7)
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize(("name", "nearest"), [("hamsa-s", "hamsa_s"), ("vminet_tiny", "vminet_ti")])
def test_unknown_name_suggests_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(InputError) as caught:
        load_model(name)
    assert repr(nearest) in caught.value.fix
    assert caught.value.exit_code == 2


def test_unknown_option_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="no option 'num_class'") as caught:
        load_model("hamsa_nano", num_class=3)
    assert "'num_classes'" in caught.value.fix


def test_user_factory(user_module: str) -> None:
    model = load_model(f"{user_module}:net", width=5)
    assert isinstance(model, nn.Linear)
    assert not model.training
    assert model.in_features == 5
    entry = model_entry(f"{user_module}:net")
    assert entry.preprocessing is None
    assert entry.labels is None


@pytest.mark.parametrize(
    ("attribute", "said"),
    [("no_net", "returned str"), ("number", "is a int"), ("nothing", "cannot be imported")],
)
def test_bad_user_factory(user_module: str, attribute: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_model(f"{user_module}:{attribute}")


@pytest.mark.parametrize("name", ["no.such.package:net", ":net", "json:"])
def test_name_that_cannot_be_imported(name: str) -> None:
    with pytest.raises(InputError, match="cannot be imported"):
        load_model(name)


def test_unknown_option_of_a_user_factory(user_module: str) -> None:
    with pytest.raises(InputError) as caught:
        load_model(f"{user_module}:net", widht=5)
    assert "'width'" in caught.value.fix


def test_the_preprocessing_of_imagenet_classifiers() -> None:
    assert model_entry("hamsa_s").preprocessing == Preprocessing(
        size=(224, 224),
        channels=3,
        resize="bicubic",
        crop_fraction=0.875,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        normalise="graph",
    )


def test_entry_follows_the_configuration() -> None:
    entry = model_entry("hamsa_nano", image_size=(32, 64), in_channels=1, num_classes=3)
    assert entry.preprocessing == Preprocessing((32, 64), 1, "bilinear", 1.0, (0.5,), (0.5,))
    assert entry.labels is None
    assert model_entry("hamsa_nano").labels == tuple("0123456789")
    square = model_entry("hamsa_s", image_size=448, in_channels=1).preprocessing
    assert square is not None
    assert square.size == (448, 448)
    assert square.mean == pytest.approx([(0.485 + 0.456 + 0.406) / 3])


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_options_are_known_without_the_class(family: str) -> None:
    parameters = inspect.signature(FAMILIES[family]).parameters.values()
    assert options_of(family) == {each.name: str(each.annotation) for each in parameters}
