"""Models of hubs: their weights, pixels and labels, from folders and from a server that is laid out as the hub is."""

from __future__ import annotations

import functools
import hashlib
import http.server
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hamsa_deploy.models import load_model, model_entry
from hamsa_deploy.models.hubs import Found, found_in_hub, name_in_hub, preprocessing_of_processor, preprocessing_of_timm
from hamsa_runtime import open_bundle
from hamsa_runtime.errors import InputError, MissingError
from hamsa_runtime.images import resized

LABELS = ("cat", "dog", "robot")
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
VIT = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": MEAN,
    "image_std": STD,
}
RESNET = {**VIT, "image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}, "crop_pct": 0.875}


@pytest.fixture(scope="module")
def transformers() -> Any:
    return pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(scope="module")
def folder(transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier as save_pretrained writes it."""
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8,
        id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)},
    )  # fmt: skip
    path = tmp_path_factory.mktemp("hub") / "tiny-vit"
    transformers.ViTForImageClassification(config).save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps(VIT))
    return path


def picture(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", [(40, 56), (32, 32), (20, 30)])
@pytest.mark.parametrize("said", [VIT, RESNET], ids=["stretched", "cropped"])
def test_pixels_are_those_of_the_processor(transformers: Any, said: dict[str, Any], size: tuple[int, int]) -> None:
    """Of the processors that work with Pillow, where the crop leaves an even number of pixels: of odd ones these leave
    the smaller half in front, those that work with torchvision the even one, as bundles do."""
    modules = {"ViTImageProcessor": "vit", "ConvNextImageProcessor": "convnext"}
    name = said["image_processor_type"]
    module = pytest.importorskip(f"transformers.models.{modules[name]}.image_processing_pil_{modules[name]}")
    processor = getattr(module, f"{name}Pil")(**{key: value for key, value in said.items() if key[:5] != "image_p"})
    how = preprocessing_of_processor(said, None)
    expected = processor(picture(*size), return_tensors="np")["pixel_values"][0]
    found = (resized(picture(*size), how) / 255 - how.mean) / how.std
    assert found.shape == (32, 32, 3)
    np.testing.assert_allclose(found.transpose(2, 0, 1), expected, atol=1e-5)


def test_a_classifier_of_a_folder_is_a_bundle_with_its_labels(
    folder: Path, tmp_path: Path, transformers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hamsa_deploy.cli import export, parity

    asked: list[str] = []

    def found(name: str, **config: Any) -> Found:
        asked.append(name)
        return found_in_hub(name, **config)

    monkeypatch.setattr("hamsa_deploy.models.registry.found_in_hub", found)
    name, bundle = f"hf:{folder}", str(tmp_path / "b")
    assert export.main(["--model", name, "--to", "onnx", "-o", bundle, "--quiet"]) == 0
    assert asked == [name]
    assert parity.main([bundle, "--model", name]) == 0
    assert asked == [name, name]
    manifest = open_bundle(tmp_path / "b").manifest
    assert manifest.parity is not None
    assert manifest.parity.passed
    assert manifest.labels == LABELS
    assert manifest.preprocessing is not None
    assert (manifest.preprocessing.fit, manifest.preprocessing.size) == ("stretch", (32, 32))
    assert (manifest.name, manifest.model.reference) == ("tiny-vit", f"hf:{folder}")


def test_the_weights_are_the_hubs_or_those_that_are_given(folder: Path, tmp_path: Path, transformers: Any) -> None:
    original = transformers.ViTForImageClassification.from_pretrained(folder).eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(load_model(f"hf:{folder}")(x)["logits"], original(x).logits)
        torch.nn.init.normal_(original.classifier.weight, generator=torch.Generator().manual_seed(1))
        torch.save(original.state_dict(), tmp_path / "mine.pt")
        assert torch.equal(load_model(f"hf:{folder}", tmp_path / "mine.pt")(x)["logits"], original(x).logits)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"resample": 1}, "images are resized by 1"),
        ({"rescale_factor": 1.0}, "pixels are multiplied by 1"),
        ({"do_resize": False}, "images are not resized"),
        ({"size": {"shortest_edge": 32}}, "keep their aspect and are not cropped"),
        ({"do_center_crop": True}, "stretched to .* and cropped"),
    ],
)
def test_pixels_that_no_bundle_has_are_refused(changed: dict[str, Any], found: str) -> None:
    with pytest.raises(InputError, match=found):
        preprocessing_of_processor({**VIT, **changed}, None)


def test_the_ways_to_crop_become_fractions() -> None:
    clip = {**VIT, "size": {"shortest_edge": 36}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}}
    how = preprocessing_of_processor(clip, None)
    assert (how.size, how.crop_fraction, how.fit, how.resize) == ((32, 32), 32 / 36, "cover", "bilinear")
    large = preprocessing_of_processor({**RESNET, "size": {"shortest_edge": 384}}, None)
    assert (large.size, large.crop_fraction, large.fit) == ((384, 384), 1.0, "stretch")
    plain = preprocessing_of_processor({**VIT, "do_normalize": False}, None)
    assert (plain.mean, plain.std) == ((0, 0, 0), (1, 1, 1))


def test_timm_rounds_the_size_before_the_crop_down() -> None:
    said = {"input_size": (3, 224, 224), "interpolation": "bicubic", "mean": MEAN, "std": STD, "crop_pct": 0.9}
    how = preprocessing_of_timm(said)
    assert round(224 / how.crop_fraction) == 248
    assert preprocessing_of_timm({**said, "crop_mode": "squash"}).fit == "stretch"
    with pytest.raises(InputError, match="border"):
        preprocessing_of_timm({**said, "crop_mode": "border"})


def test_a_name_without_its_owner_is_the_bundles() -> None:
    names = ["hf:google/vit-base", "hf:tiny", "timm:resnet18.a1_in1k", "timm:local-dir:/a/b/", "timm:hf-hub:o/n"]
    assert [name_in_hub(each) for each in names] == ["vit-base", "tiny", "resnet18.a1_in1k", "b", "n"]


def test_an_unknown_model_is_said_with_what_the_library_says(tmp_path: Path, transformers: Any) -> None:
    with pytest.raises(InputError, match=f"hf:{tmp_path}/none cannot be loaded: "):
        model_entry(f"hf:{tmp_path}/none")


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingError, match="needs the package timm") as caught:
        model_entry("timm:resnet18")
    assert "hamsa-deploy[timm]" in str(caught.value.fix)


def test_timm_brings_pixels_and_labels(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="timm, or the torchvision that it needs, is not installed")
    entry = model_entry("timm:resnet18.a1_in1k")
    assert entry.preprocessing is not None
    assert entry.preprocessing.size == (224, 224)
    assert entry.labels is not None
    assert len(entry.labels) == 1000
    assert "tench" in entry.labels[0]
    assert model_entry("timm:resnet18.a1_in1k", num_classes=5).labels is None
    how, made = entry.preprocessing, timm.create_model("resnet18.a1_in1k")
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(made))
    for size in ((300, 401), (231, 500)):
        found = (resized(picture(*size), how) / 255 - how.mean) / how.std
        np.testing.assert_allclose(found.transpose(2, 0, 1), transform(picture(*size)).numpy(), atol=1e-5)


def test_timm_models_of_folders_have_logits_or_an_embedding(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="timm, or the torchvision that it needs, is not installed")
    hub = importlib.import_module("timm.models._hub")
    torch.manual_seed(0)
    options = {"num_classes": 3, "img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    made = timm.create_model("vit_tiny_patch16_224", pretrained=False, **options).eval()
    hub.save_for_hf(made, tmp_path, model_config={"num_classes": 3, "label_names": list(LABELS)}, model_args=options)
    x, name = torch.randn(2, 3, 32, 32), f"timm:local-dir:{tmp_path}"
    assert model_entry(name).labels == LABELS
    assert torch.equal(load_model(name)(x)["logits"], made(x))
    assert load_model(name, num_classes=0)(x)["embedding"].shape == (2, 16)


class Hub(http.server.SimpleHTTPRequestHandler):
    """Files of models at ID/resolve/REVISION/FILE, with the headers that clients of the hub read."""

    root: Path

    def _file(self) -> Path | None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        if len(parts) < 5 or parts[2] != "resolve":
            return None
        path = self.root / parts[1] / "/".join(parts[4:])
        return path if path.is_file() else None

    def _answer(self, *, body: bool) -> None:
        path = self._file()
        content = b"" if path is None else path.read_bytes()
        self.send_response(404 if path is None else 200)
        if path is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(folder: Path) -> Iterator[str]:
    """The address of a server with that model."""
    handler = type("Here", (Hub,), {"root": folder.parent})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_model_is_fetched_and_kept(hub: str, tmp_path: Path) -> None:
    """By the library's own code, from a server with the hub's addresses and headers; again without any."""
    program = (
        "import torch; from hamsa_deploy.models import load_model, model_entry\n"
        "name = 'hf:someone/tiny-vit'\n"
        "print(model_entry(name).labels, tuple(load_model(name)(torch.zeros(1, 3, 32, 32))['logits'].shape))"
    )
    said = {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}, **said}
    for more in ({}, {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}):
        done = subprocess.run(
            [sys.executable, "-c", program], env={**environment, **more}, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.strip() == f"{LABELS} (1, 3)"
