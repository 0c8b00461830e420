"""Bundles in a real browser: the pixels and samples of Python, its outputs, and a page that people can use."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch import Tensor, nn

import hamsa_deploy
from hamsa_runtime import Engine
from hamsa_runtime.errors import InputError
from hamsa_runtime.images import load_image
from hamsa_runtime.manifest import Preprocessing
from hamsa_runtime.preprocess import inputs_from_images

from ..docs.pages import DOCS, blocks
from ..odd_bmp_webp import odd_bmps_and_webps
from ..odd_images import noise, odd_images, picture
from .browser import FAKE_CAMERA, ISOLATED, NO_CARD, SOFTWARE_CARD, Ask, array, browsing, skip_without_node

RATE, BLOCK = 8000, 64
HOW = Preprocessing((24, 20), 3, "bicubic", 0.875, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
# Of the largest output; Python's ONNX Runtime and the browser's add up in other orders.
CLOSE = 1e-5


class Picture(nn.Module):
    """A learned filter of a picture's spectrum, a convolution, and classes."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(3, 24, 11, dtype=torch.complex64, generator=draw))
        self.mix = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4 * 22 * 18, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = torch.fft.irfft2(torch.fft.rfft2(x) * self.weight, s=(24, 20))
        y = self.mix(y).relu()
        return {"logits": self.head(y.flatten(1)), "positive": (y > 0).sum((1, 2, 3))}


class Sound(nn.Module):
    """Keeps a running mean of a clip's spectrum from block to block."""

    heard: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("heard", torch.linspace(0, 1, BLOCK // 2 + 1)[None])

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x)
        self.heard = 0.9 * self.heard + 0.1 * spectrum.abs()
        return torch.fft.irfft(spectrum / (1 + self.heard), n=BLOCK)


def pictures() -> dict[str, bytes]:
    """A file of each kind that the page takes."""
    large = np.asarray(Image.fromarray(picture(61, 83)))
    alpha = np.dstack([picture(37, 51), noise(37, 51)])
    kinds: dict[str, tuple[np.ndarray, str, dict[str, Any]]] = {
        "plain.png": (large, "PNG", {}),
        "odd-alpha.png": (alpha, "PNG", {}),
        "grey.png": (large[..., 0], "PNG", {}),
        "small.png": (large[:9, :7], "PNG", {}),
        "lossless.webp": (large, "WEBP", {"lossless": True}),
    }
    files = {}
    for name, (pixels, kind, options) in kinds.items():
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, kind, **options)
        files[name] = stream.getvalue()
    return files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bundles, pictures and a sound."""
    skip_without_node()
    folder = tmp_path_factory.mktemp("web")
    torch.manual_seed(0)
    images = [picture(40, 40)] + [noise(30 + i, 40, 3) for i in range(7)]
    hamsa_deploy.export(
        Picture().eval(), to="web", preprocessing=HOW, data=images, labels=["a", "b", "c"], output=folder / "pictures"
    )
    samples = np.random.default_rng(0).uniform(-1, 1, 5 * BLOCK - 7)
    soundfile.write(folder / "clip.wav", samples, RATE, "PCM_16")
    soundfile.write(folder / "late.wav", np.concatenate([np.zeros(3 * BLOCK), samples]), RATE, "PCM_16")
    late = [str(folder / "late.wav")]
    hamsa_deploy.export(
        Sound().eval(), (torch.randn(1, BLOCK),), to="web", sample_rate=RATE, data=late, output=folder / "sounds"
    )
    for name, data in pictures().items():
        (folder / name).write_bytes(data)
    (folder / "wrong.png").write_text("no picture")
    return folder


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    if np.issubdtype(expected.dtype, np.integer):
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSE * np.abs(expected).max())


def assert_pictures_are_pythons(answer: dict[str, Any], folder: Path) -> None:
    with Engine(folder / "pictures") as engine:
        for name, found in zip(pictures(), answer["images"], strict=True):
            assert "error" not in found, (name, found)
            [expected] = inputs_from_images(folder / name, engine.manifest).values()
            np.testing.assert_array_equal(array(found["input"]), expected, err_msg=name)
            outputs = engine(folder / name)
            assert found["outputs"].keys() == outputs.keys()
            for output, values in outputs.items():
                assert_close(array(found["outputs"][output]), values)


@pytest.fixture(scope="module")
def ask(folder: Path) -> Iterator[Ask]:
    with browsing(folder, [*NO_CARD, *FAKE_CAMERA]) as ask:
        yield ask


def run(bundle: str = "./pictures", device: str = "wasm", **files: Any) -> dict[str, Any]:
    return {"kind": "runtime", "bundle": bundle, "device": device, **files}


def page(**changes: Any) -> dict[str, Any]:
    return {"kind": "page", "bundle": "pictures/", **changes}


@pytest.mark.parametrize("place", ["", ISOLATED[1:]])
def test_pixels_and_outputs_are_pythons_with_one_thread_and_with_several(folder: Path, ask: Ask, place: str) -> None:
    answer = ask(run(page=place, images=list(pictures())))
    assert (answer["threads"] > 1) == (bool(place) and os.cpu_count() != 1)
    assert_pictures_are_pythons(answer, folder)
    assert answer["verdict"]["passed"]
    assert 0 < answer["verdict"]["relativeError"] < CLOSE
    assert (answer["verdict"]["inputs"], answer["verdict"]["equal"]) == (4, 1)


def test_a_sound_and_what_is_kept_between_its_blocks_are_pythons(folder: Path, ask: Ask) -> None:
    answer = ask(run("./sounds", clips=["clip.wav", "clip.wav"]))  # the second one starts anew
    with Engine(folder / "sounds") as engine:
        expected = list(engine.stream([str(folder / "clip.wav")]))
    for heard in answer["clips"]:
        assert len(heard) == len(expected) == 5
        for block, outputs in zip(heard, expected, strict=True):
            for name, values in outputs.items():
                assert_close(array(block[name]), values)
    assert answer["verdict"]["passed"]
    assert answer["verdict"]["calls"] == 8  # of a stream: one block alone is silence


@pytest.mark.slow
def test_webgpu_gives_the_same(folder: Path) -> None:
    with browsing(folder, SOFTWARE_CARD) as ask:
        found = ask(run(device="webgpu", images=list(pictures())))
    if found.get("kind") == "MissingError":
        pytest.skip(f"no WebGPU in this browser, not even on the processor: {found['error']}")
    assert_pictures_are_pythons(found, folder)


READERS_PAGE = """<!doctype html><script type="module">
const bytes = new Uint8Array(await (await fetch("../plain.png")).arrayBuffer());
const shown = console.log;
console.log = (...values) => shown(JSON.stringify(values));
{}
shown("the end");
</script>"""


def test_the_program_of_the_docs_prints_what_python_finds(folder: Path, ask: Ask) -> None:
    [program] = blocks("js", DOCS / "browser.md")
    shutil.copytree(folder / "pictures", folder / "mine")  # Python runs no bundle with a file too many
    (folder / "mine/readers.html").write_text(READERS_PAGE.replace("{}", program))
    answer = ask({"kind": "printed", "page": "mine/readers.html"})
    assert answer["fault"] == ""
    [best, *_], milliseconds = json.loads(answer["lines"][-1])  # ONNX Runtime may have warned before
    with Engine(folder / "pictures") as engine:
        [[(label, probability), *_]] = engine.classify(folder / "plain.png")
    assert best["name"] == label
    assert best["probability"] == pytest.approx(probability, abs=1e-5)
    assert milliseconds > 0


def test_a_bundle_that_was_changed_is_not_run(folder: Path, ask: Ask) -> None:
    shutil.copytree(folder / "pictures", folder / "changed")
    with (folder / "changed/model.onnx").open("r+b") as file:
        file.seek(100)
        file.write(b"?")
    answer = ask(run("./changed"))
    assert answer["kind"] == "InputError"
    assert "as manifest.json says" in answer["error"]
    shown = ask(page(bundle="changed/"))
    assert "model.onnx" in shown["text"]
    assert "The same" not in shown["text"]


def test_every_odd_file_gives_pythons_pixels_or_is_refused(folder: Path, ask: Ask) -> None:
    """A refusal is right where Python refuses too, or where a browser would give other pixels (inks, transparency)
    or does not tell what is wrong with a packed text."""
    odds = odd_images() + odd_bmps_and_webps()
    (folder / "odds").write_bytes(b"".join(odd.data for odd in odds))
    answer = ask({"kind": "runtime", "decode": "odds", "sizes": [len(odd.data) for odd in odds]})
    wrong, fates = {}, Counter[str]()
    for odd, found in zip(odds, answer["decoded"], strict=True):
        fate, text = judged(odd.data, found)
        fates[fate] += 1
        if text:
            wrong[odd.name] = text
    assert wrong == {}
    assert min(fates["same"], fates["both refuse"]) >= 800, fates


BROWSERS_CANNOT = ("four inks", "transparency", "animated", "packed data that is damaged")


def judged(data: bytes, found: dict[str, Any]) -> tuple[str, str]:
    """What became of a file, and what is wrong with that."""
    try:
        expected = np.asarray(load_image(data))
    except InputError as error:
        return "both refuse", "" if "error" in found else f"taken, but Python: {error.found}"
    if "error" in found:
        known = any(reason in found["error"] for reason in BROWSERS_CANNOT)
        return "only the browser refuses", "" if known else found["error"]
    pixels = array(found)
    if pixels.shape != expected.shape:
        return "other", f"{pixels.shape} for {expected.shape}"
    difference = int(np.abs(pixels.astype(int) - expected).max())
    return "same", f"pixels differ by up to {difference}" if difference else ""


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_shows_verdicts_classes_and_latency_in_every_colour(folder: Path, ask: Ask, width: int) -> None:
    file = str(folder / "plain.png")
    shown = [ask(page(width=width, scheme=scheme, file=file)) for scheme in ("light", "dark")]
    for answer in shown:
        assert_usable(answer)
        assert "Most probable classes" in answer["text"]
        assert "Comparing" not in answer["text"]
    assert len({answer["background"] for answer in shown}) == 2


def assert_usable(answer: dict[str, Any]) -> None:
    assert answer["faults"] == []
    assert answer["elsewhere"] == []  # nothing is fetched from another server
    assert answer["overflow"] <= 0
    assert answer["nameless"] == answer["small"] == []
    assert answer["focused"][1] != "none"
    for text in ("Passed", "not in your browser", "The same", "on WebAssembly, without"):
        assert text in answer["text"], text


def test_the_page_takes_a_sound(folder: Path, ask: Ask) -> None:
    answer = ask(page(bundle="sounds/", width=390, file=str(folder / "clip.wav")))
    assert_usable(answer)
    assert "in 5 calls" in answer["text"]
    assert "Most probable classes" not in answer["text"]  # 64 samples are no classes


def test_the_page_classifies_what_a_camera_sees(ask: Ask) -> None:
    answer = ask(page(camera="allowed"))
    assert_usable(answer)
    assert "Stop camera" in answer["text"]
    assert "Most probable classes" in answer["text"]


def test_the_page_says_what_is_missing_and_goes_on(folder: Path, ask: Ask) -> None:
    wrong = ask(page(file=str(folder / "wrong.png")))
    assert "Not an image in a known format" in wrong["text"]
    assert "Most probable classes" not in wrong["text"]
    camera = ask(page(camera="refused"))
    assert "No camera" in camera["text"]
    assert "its use was not allowed" in camera["text"]
    card = ask(page(file=str(folder / "grey.png"), device="webgpu"))
    assert "Most probable classes" in card["text"]
    assert "WebGPU" in card["text"]
    assert 'the device "wasm"' in card["text"]
    assert card["device"] == "wasm"  # what runs is what is shown to be chosen
    assert "The same" in card["text"]
