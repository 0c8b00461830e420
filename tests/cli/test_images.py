"""What the options of hamsa-export say of images."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamsa_deploy.cli.export import parser
from hamsa_deploy.cli.images import preprocessing_of, read_preprocessing
from hamsa_deploy.models import ModelEntry, Preprocessing
from hamsa_deploy.models.preprocessing import IMAGENET
from hamsa_runtime.errors import InputError

OWN = ("--model", "mine:make")
ENTRY = ModelEntry("", dict)  # type: ignore[arg-type]


def found(*words: str) -> Preprocessing | None:
    return preprocessing_of(parser().options_from([*OWN, *words]), ENTRY)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "--image-size 224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
            Preprocessing((224, 224), 3, "bicubic", 1.0, IMAGENET.mean, IMAGENET.std),
        ),
        (
            "--image-size 4x6 --mean 0.5 --std 0.25 --resize bilinear",
            Preprocessing((4, 6), 3, "bilinear", 1.0, (0.5,) * 3, (0.25,) * 3),
        ),
        ("--input 1x1x4x6 --image-dtype uint8", IMAGENET.resized_to((4, 6)).with_channels(1)),
        ("--input 1x3x4x6", None),
    ],
)
def test_options_make_it_a_model_of_images(words: str, expected: Preprocessing | None) -> None:
    assert found(*words.split()) == expected


def test_options_go_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "pixels.toml"
    path.write_text("size = 8\nchannels = 1\nmean = 0.5\nstd = 0.5\ncrop_fraction = 0.875\n")
    expected = Preprocessing((16, 16), 1, "bilinear", 0.875, (0.0,), (0.5,))
    words = ["--preprocessing", str(path), "--image-size", "16", "--mean", "0", "--resize", "bilinear"]
    assert found(*words) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--image-size 8", "without --mean and --std"),
        ("--mean 0.5", "--mean without --image-size and --std"),
        ("--resize bilinear --image-size 8 --std 1", "without --mean"),
        ("--image-size 8 --mean 0.5 --std 0", r"std\[0\] is 0"),
        ("--image-size 8 --mean 0.5 --std 1 --input 1x3x8x8", "--image-size with --input"),
        ("--image-size 8x8x3 --mean 0.5 --std 1", "'8x8x3' is not N, or HEIGHTxWIDTH"),
        ("--image-size 8 --mean 0.5,0.5 --std 1", "'0.5,0.5' is not one number, or three"),
        ("--image-size 8 --mean nan --std 1", "'nan' is not one number"),
        ("--image-size 8 --mean 0.5 --std 1 --resize nearest", "unknown interpolation 'nearest'"),
    ],
)
def test_what_is_missing_or_wrong_in_them_is_said(words: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        found(*words.split())


def test_a_file_says_how_an_image_becomes_the_input(tmp_path: Path) -> None:
    path = tmp_path / "pixels.toml"
    path.write_text("size = 8\nmean = 0.5\nstd = [0.5, 0.25, 1]\n")
    expected = Preprocessing((8, 8), 3, "bicubic", 1.0, (0.5, 0.5, 0.5), (0.5, 0.25, 1.0))
    assert found("--preprocessing", str(path)) == expected
    path.write_text('size = [4, 6]\nchannels = 1\nresize = "bilinear"\ncrop_fraction = 0.5\nmean = [0]\nstd = [1]\n')
    assert read_preprocessing(path) == Preprocessing((4, 6), 1, "bilinear", 0.5, (0.0,), (1.0,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size = 8", "mean is missing"),
        ("size = 8\nmean = 0.5\nstd = 0", r"std\[0\] is 0"),
        ("size = 8\nmean = [0.5, 0.5]\nstd = 1", "mean and std"),
        ("size = 8\nmean = 0.5\nstd = 1\nmeans = 2", "unknown key 'means'"),
        ('size = "8"\nmean = 0.5\nstd = 1', "size is '8'"),
        ("size = 8\nmean = nan\nstd = 1", r"mean\[0\] is nan"),
        ("size", "cannot be read"),
    ],
)
def test_what_is_wrong_in_that_file_is_said_with_its_name(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "pixels.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"pixels\.toml: .*{message}"):
        read_preprocessing(path)


@pytest.mark.parametrize(
    "option", [["--input", "1x3x8x8"], ["--dynamic", "x:1=t"], ["--preprocessing", "a.toml"], ["--image-size", "8"]]
)
def test_built_in_models_know_their_inputs(option: list[str]) -> None:
    options = parser().options_from(["--model", "hamsa_nano", *option])
    with pytest.raises(InputError, match=f"{option[0]} with hamsa_nano, whose images are known"):
        preprocessing_of(options, ENTRY)
