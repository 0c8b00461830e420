"""Mistakes in names and files are found before PyTorch is loaded: in these tests it never is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamsa_deploy.cli.export import main
from hamsa_deploy.cli.parity import main as parity

from ..runtime.tiny_bundles import manifest_for

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def without_the_model(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    """What loads PyTorch and the model cannot be imported."""
    monkeypatch.setitem(sys.modules, "hamsa_deploy.cli.request", None)


@pytest.fixture
def photos(workplace: Path) -> Path:
    """Twelve images, of which two are cut, and files of other kinds."""
    folder = workplace / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:02}.jpg")
    for name, size in (("03.jpg", 300), ("07.jpg", 200)):
        (folder / name).write_bytes((folder / name).read_bytes()[:size])
    return folder


@pytest.mark.parametrize(
    ("words", "code", "messages"),
    [
        ("--model hamsa_nan", 2, ["no model is called 'hamsa_nan'", "did you mean 'hamsa_nano'?"]),
        ("--model yolo.pt", 2, ["--weights yolo.pt"]),
        ("--model resnet18.a1_in1k", 2, ["timm:resnet18.a1_in1k"]),
        ("--model net.py:make", 2, ["cannot be imported", "net:make"]),
        ("--model no_module_of_this_name:make", 2, ["no module 'no_module_of_this_name' here"]),
        ("--weights nofile.pth", 2, ["nofile.pth: no such file"]),
        ("--onnx nofile.onnx", 2, ["nofile.onnx: no such file"]),
        ("--labels nofile.txt", 2, ["nofile.txt"]),
        ("--data nofolder", 2, ["--data nofolder: no such file or folder"]),
        ("--calibration nofolder", 2, ["--calibration nofolder: no such"]),
        ("--to tensorrt --bf16", 2, ["precision bf16 for tensorrt", "--to openvino --bf16"]),
        ("--device GPU.7", 4, ["no device 'GPU.7'"]),
        ("--weights-key ema", 2, ["--weights-key without --weights"]),
        ("--model json:dumps --image-size 64", 2, ["--image-size without --mean and --std", "0.485,0.456,0.406"]),
        ("--model json:dumps --image-size 64 --mean 0.5 --std 0", 2, ["std[0] is 0.0"]),
        ("--image-size 64", 2, ["--image-size with hamsa_nano", "--set image_size=N"]),
        ("--set foo=1", 2, ["hamsa_nano has no option 'foo'", "one of widths, depths"]),
        ("--set image_size=abc", 2, ["image_size='abc'", "--set image_size=N,N"]),
        ("--set num_class=3", 2, ["did you mean 'num_classes'?"]),
        ("--model resnet18", 2, ["timm:resnet18"]),
        ("--model ownnet", 2, ["ownnet:FACTORY"]),
        ("--model torchvision_not_here:resnet18", 2, ["a package that is not installed"]),
        ("--weights photo.jpg", 2, ["photo.jpg: .jpg file type", ".ckpt or .bin"]),
        ("-o photo.jpg", 2, ["photo.jpg: not a bundle", "such as"]),
        ("-o photo.jpg/b", 2, ["cannot be made, because", "photo.jpg is a file"]),
        ("--calibration few --int8 --to onnx", 2, ["2 calibration inputs in few", "at least 8"]),
        ("--model json:dumps --image-size 64 --mean 123 --std 58", 2, ["mean 123, 123, 123", "mean 0.4824, 0.4824"]),
        ("--log-file nofolder/log.txt", 2, ["--log-file nofolder/log.txt: cannot be written"]),
    ],
)
def test_it_is_said_at_once(words: str, code: int, messages: list[str], workplace: Path, capsys: Captured) -> None:
    (workplace / "few").mkdir()
    (workplace / "ownnet.py").touch()
    for name in ("photo.jpg", "few/0.jpg", "few/1.jpg"):
        Image.new("RGB", (8, 8)).save(workplace / name)
    assert main(words.split()) == code
    err = capsys.readouterr().err
    assert "this is a bug" not in err
    assert [message for message in messages if message not in err] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("nofolder", "nofolder: no such folder"),
        ("{bundle} --data nofolder", "--data nofolder: no such file or folder"),
        ("{bundle} --model no_module_of_this_name:make", "no module 'no_module_of_this_name' here"),
        ("{own}", "--model net:make, in the folder that holds it"),
        ("{bundle} --reference nofile.pt", "nofile.pt: no such file"),
        ("{bundle} --against nofolder", "nofolder: no such folder"),
        ("{bundle} --labels nofile.txt", "nofile.txt"),
        ("{bundle} --data {photos}", "2 of 12 images cannot be read"),
    ],
)
def test_of_parity_too(
    words: str,
    message: str,
    photos: Path,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.setitem(sys.modules, "hamsa_deploy.cli.parity_request", None)

    manifest = manifest_for(files={"model.onnx": {"sha256": "0" * 64, "bytes": 1}})
    for name, reference in (("bundle", "hamsa_nano"), ("own", "net:make")):
        each = manifest | {"model": manifest["model"] | {"reference": reference}}
        (workplace / name).mkdir(exist_ok=True)
        (workplace / name / "manifest.json").write_text(json.dumps(each))
    assert parity([word.format(bundle="bundle", own="own", photos="photos") for word in words.split()]) == 2
    assert message in capsys.readouterr().err


def test_a_hub_whose_library_is_missing_exits_4(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr("hamsa_deploy.cli.early.find_spec", lambda name: None)
    assert main(["--model", "timm:resnet18"]) == 4
    assert "pip install timm" in capsys.readouterr().err


@pytest.mark.parametrize("own", [False, True])
def test_all_broken_images_are_named_in_one_error(photos: Path, own: bool, capsys: Captured) -> None:
    model = ["--model", "json:dumps", "--image-size", "16", "--mean", "0.5", "--std", "0.5"] if own else []
    assert main(["--data", str(photos), *model]) == 2
    err = capsys.readouterr().err
    assert "2 of 12 images cannot be read" in err
    assert [name for name in ("03.jpg", "07.jpg") if name not in err] == []


def test_calibration_may_lack_a_tenth_of_its_images(photos: Path, capsys: Captured) -> None:
    assert main(["--int8", "--calibration", str(photos)]) == 2
    assert "2 of 12 calibration images cannot be read: 03.jpg: the image is damaged" in capsys.readouterr().err
    Image.new("RGB", (16, 16)).save(photos / "07.jpg")
    assert main(["--int8", "--calibration", str(photos)]) != 2  # goes on to what this test has taken away


def test_nothing_heavy_is_imported_before_a_mistake_is_found() -> None:
    heavy = "{'torch', 'onnx', 'onnxruntime', 'openvino', 'sympy', 'nncf'} & set(sys.modules)"
    program = f"import sys\nfrom hamsa_runtime.cli.hamsa import main\ncode = main(sys.argv[1:])\nprint(code, {heavy})"
    for words in (["export", "--model", "hamsa_nan"], ["export", "--half"], ["parity", "--opset", "1"], ["models"]):
        done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == f"{0 if words == ['models'] else 2} set()", words


def test_a_comparison_does_without_dynamo() -> None:
    """It captures nothing; the import takes half of PyTorch's own."""
    program = "import sys\nimport hamsa_deploy.cli.parity_request\nprint('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n"
