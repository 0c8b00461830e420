"""What an export refuses, and why; what parity never passes."""

from __future__ import annotations

import json
import math
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from hamsa_deploy.inputs.files import read_images
from hamsa_deploy.parity import metrics
from hamsa_deploy.services import next_version
from hamsa_deploy.testing import assert_parity
from hamsa_runtime import Engine, open_bundle
from hamsa_runtime.errors import InputError, MissingError, ParityError
from hamsa_runtime.images import load_image
from tests.rewriting import rewrite_manifest
from tests.unprivileged import unprivileged

from .conftest import (
    ANY_AGREEMENT,
    ARRAYS,
    IMAGES,
    INT8,
    MODULE,
    PIXELS,
    Did,
    Hamsa,
    Refused,
    bundle_at,
    pictures,
    snapshot,
)

Edit = Callable[[onnx.ModelProto], None]


def reference_of(folder: Path, edit: Edit, **keys: object) -> Path:
    """A copy of a bundle with an edited graph, and hashes that fit: a bundle that was made wrongly."""
    other = folder.with_name("wrong")
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(folder, other)
    model = onnx.load(other / "model.onnx")
    edit(model)
    onnx.save(model, other / "model.onnx")
    rewrite_manifest(other, **keys)
    return other


def with_weights(change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """An edit of every float weight of more than one number."""

    def edit(model: onnx.ModelProto) -> None:
        for weight in model.graph.initializer:
            array = numpy_helper.to_array(weight)
            if array.dtype == np.float32 and array.size > 1:
                weight.CopyFrom(numpy_helper.from_array(change(array), weight.name))

    return edit


def test_row_15_an_operator_without_a_rule_fails_the_export_with_its_name_and_line(
    refused: Refused, older: Path, did: Did
) -> None:
    line = next(i for i, text in enumerate(Path(f"{MODULE}.py").read_text().splitlines(), 1) if "linalg.inv" in text)
    said = ("linalg_inv", f"{MODULE}.py:{line}", "hamsa_deploy.spectral.compiler.table lists")
    model = ("--model", f"{MODULE}:Inverting", "--input", "2x4x4", "--to", "onnx", "-o", "older")
    refused("export", *model, says=said)
    did(f"torch.linalg.inv of a spectrum: exit 2, names linalg_inv and line {line} of the user's file")


def test_row_16_a_transform_that_is_not_supported_fails_before_anything_is_built(
    refused: Refused, older: Path, did: Did
) -> None:
    model = ("--model", f"{MODULE}:AcrossTheBatch", "--input", "2x4", "--to", "onnx", "-o", "older")
    refused("export", *model, "--batch", "dynamic", says=("dynamic length", "--batch N"))
    from torch import fft, nn, zeros

    from hamsa_deploy import to_real

    class Call(nn.Module):
        def __init__(self, call: Callable[[torch.Tensor], torch.Tensor]) -> None:
            super().__init__()
            self.call = call

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.call(x).abs()

    calls = (
        lambda x: fft.fft(x, n=0),
        lambda x: fft.fft(x, norm="unit"),
        lambda x: fft.fft(x, dim=7),
        lambda x: fft.fft2(x, s=(0, 4)),
    )
    for call in calls:
        with pytest.raises(InputError):
            to_real(Call(call), (zeros(2, 4, 4),), dynamic_shapes={})
    did("a transform across the batch; n=0, norm='unit', dim=7, s=(0, 4): exit 2 before anything is built")


def test_row_17_a_real_form_that_differs_fails_with_the_first_diverging_layer(
    hamsa: Hamsa, workplace: Path, did: Did
) -> None:
    assert hamsa("export", *IMAGES, "-o", "right", "--quiet").code == 0
    wrong = reference_of(workplace / "right", with_weights(lambda weight: weight * np.float32(1.5)))
    model = ("--model", f"{MODULE}:Classifier", "--layers")
    done = hamsa("parity", wrong, *model)
    text = " ".join((done.out + done.err).split())
    assert done.code == 3, text
    assert "head" in text
    assert "max relative error" in text
    did("a bundle whose weights are 1.5 times the model's: hamsa-parity --layers exit 3, names head, error and limit")


def test_row_18_outputs_that_are_nan_empty_or_of_another_shape_never_pass(
    hamsa: Hamsa, workplace: Path, did: Did
) -> None:
    assert hamsa("export", *IMAGES, "-o", "right", "--quiet").code == 0
    folder, model = workplace / "right", ("--model", f"{MODULE}:Classifier")
    nan = reference_of(folder, with_weights(lambda weight: np.full_like(weight, np.nan)))
    done = hamsa("parity", nan, *model, "--max-error", "1e300")
    assert (done.code, "NaN or infinite" in done.err) == (3, True), done.err
    np.savez("none.npz", images=np.zeros((0, 8, 8, 3), np.uint8))
    assert hamsa("parity", folder, *model, "--data", "none.npz").code == 2

    def other_shape(weights: onnx.ModelProto) -> None:
        for weight in weights.graph.initializer:
            array = numpy_helper.to_array(weight)
            if 5 in array.shape and array.dtype == np.float32:
                cut = array[:4] if array.shape[0] == 5 else array[:, :4]
                weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(cut), weight.name))
        weights.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4
        del weights.graph.value_info[:]

    outputs = json.loads((folder / "manifest.json").read_text())["outputs"]
    outputs[0]["shape"][1] = 4
    other = hamsa("parity", reference_of(folder, other_shape, outputs=outputs), *model)
    assert other.code in (3, 5), other.err  # the engine may refuse the graph before anything can be compared
    did(f"NaN under a limit of 1e300: exit 3; another shape: exit {other.code}; no images: exit 2; never passed")


def test_row_18_an_export_or_assertion_with_nan_or_another_shape_never_passes(
    refused: Refused, older: Path, did: Did
) -> None:
    model = ("--model", f"{MODULE}:Undefined", "--input", "2x16", "--to", "onnx", "-o", "older")
    refused("export", *model, code=3, says=("output", "that Undefined computes are NaN"))

    class Constant(torch.nn.Module):
        def __init__(self, value: float, shapes: dict[str, Any]) -> None:
            super().__init__()
            self.value, self.shapes = value, shapes

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {name: torch.full((len(x), *shape), self.value) for name, shape in self.shapes.items()}

    shapes = {spec.name: spec.shape[1:] for spec in open_bundle(older).manifest.outputs}
    wrong: list[tuple[dict[str, Any], float, str]] = [
        ({}, math.nan, "NaN"),
        ({"logits": (2,)}, 0.0, "shape"),
        ({"logits": (0,)}, 0.0, "shape"),
    ]
    for change, value, said in wrong:
        with pytest.raises(ParityError, match=said):
            assert_parity(older, Constant(value, {**shapes, **change}), PIXELS)
    did("export of a model whose outputs are NaN: exit 3; assert_parity of NaN, another shape, no numbers: ParityError")


def test_row_19_a_spectrum_that_overflows_float16_is_kept_in_float32_and_reported(
    hamsa: Hamsa, workplace: Path, did: Did
) -> None:
    model = ("--model", f"{MODULE}:Loud", "--input", "2x256", "--to", "onnx", "--fp16", "-o", "b", "--json")
    done = hamsa("export", *model)
    assert done.code == 0, done.err
    islands = open_bundle("b").manifest.islands
    kept = [layer for layer, reason in islands.items() if reason.startswith("overflow")]
    assert kept, islands
    did(f"a spectrum beyond 65504: {len(kept)} nodes kept in float32 and listed with the range, parity passed")


def test_row_20_a_precision_or_device_that_cannot_be_had_is_an_error(
    refused: Refused, older: Path, workplace: Path, did: Did
) -> None:
    refused("export", *ARRAYS, "--bf16", "-o", "older", says=("bf16",))
    with pytest.raises(MissingError, match="TPU") as caught:
        Engine(older, device="TPU")
    assert (caught.value.exit_code, "CPU" in caught.value.expected) == (4, True)
    with pytest.raises(MissingError, match="cannot run bf16"):
        Engine(bundle_at(workplace / "bf16", precision="bf16"))
    did("bfloat16 with ONNX Runtime (export: exit 2, engine: exit 4), the device TPU (exit 4): errors, no substitute")


def calibrated(folder: Path | str) -> tuple[str, ...]:
    return (*INT8, str(folder), "-o", "older")


def test_row_28_damaged_calibration_images_are_listed_and_too_many_of_them_fail(
    refused: Refused,
    hamsa: Hamsa,
    older: Path,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    did: Did,
) -> None:
    monkeypatch.setitem(metrics.THRESHOLDS, "int8", ANY_AGREEMENT)
    photos = pictures(workplace / "photos", 20)
    whole = (photos / "00.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    done = hamsa("export", *calibrated(photos), "--json")
    assert done.code == 0, done.err
    assert any("without 1 of 21 images" in note and "cut.png" in note for note in json.loads(done.out)["notes"])
    recorded = json.loads((older / "manifest.json").read_text())["calibration"]["inputs"]
    assert (recorded["found"], recorded["used"], list(recorded["skipped"])) == (21, 20, ["cut.png"])
    for name, content in {"empty.png": b"", "text.png": b"no image", "half.png": whole[:40]}.items():
        (photos / name).write_bytes(content)
    refused("export", *calibrated(photos), says=("4 of 24 calibration images", "empty.png", "text.png", "half.png"))
    did("1 of 21 damaged: listed; manifest.json says 20 of 21 used, and which not; 4 of 24: exit 2 with the list")


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims its size, with no pixels."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b"")]
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def test_row_29_a_pixel_bomb_or_another_type_behind_jpg_is_rejected_before_decoding(workplace: Path, did: Did) -> None:
    files = {
        "bomb.png": (png_header(100_000, 100_000), "too large to decode"),
        "fits.jpg": (b"SIMPLE  =                    T".ljust(2880), "not an image in a known format"),
        "eps.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image in a known format"),
        "gif.jpg": (b"GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\0;", "not an image in a known format"),
    }
    for name, (content, said) in files.items():
        Path(name).write_bytes(content)
        with pytest.raises(InputError, match=said) as caught:
            load_image(name)
        assert name in caught.value.found
    did("a PNG of 100,000 x 100,000 pixels; FITS, EPS and GIF as .jpg: refused by their first bytes")


def test_row_30_an_empty_tiny_or_constant_calibration_set_is_refused(
    refused: Refused, older: Path, workplace: Path, did: Did
) -> None:
    (workplace / "empty").mkdir()
    sets = {
        workplace / "empty": "no images",
        pictures(workplace / "tiny", 3): "3 calibration inputs",
        pictures(workplace / "constant", 12, constant=True): "are the same",
    }
    for folder, said in sets.items():
        refused("export", *calibrated(folder), says=(folder.name, said))
    did("none, 3, and 12 equal images: exit 2, no scale was written")


def test_row_31_int8_outside_its_band_exits_3_with_the_layers_that_cost_most(
    refused: Refused, older: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, did: Did
) -> None:
    photos = pictures(workplace / "photos", 20)
    impossible = metrics.Thresholds(max_relative_error=0, cosine=1, top1=1)
    monkeypatch.setitem(metrics.THRESHOLDS, "int8", impossible)
    refused("export", *calibrated(photos), code=3, says=("int8 is outside its limits", "node_matmul 4", " dB"))
    did("int8 under a limit of no error: exit 3, layers listed with what each costs in dB")


def test_row_37_a_missing_package_is_an_error_with_its_extra_and_nothing_is_installed(
    refused: Refused, older: Path, monkeypatch: pytest.MonkeyPatch, did: Did
) -> None:
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("something was started"))
    rtx = bundle_at(older.with_name("rtx"), "tensorrt-rtx")
    export = ("export", *ARRAYS[:-1], "openvino", "-o", "older")
    for package, command in {"openvino": export, "tensorrt_rtx": ("build", rtx)}.items():
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            refused(*command, code=4, says=(f"hamsa-runtime[{package.replace('_', '-')}]",))
    did("openvino, tensorrt-rtx missing: exit 4 with their extras; no process was started")


def test_row_38_paths_with_spaces_or_unicode_and_read_only_folders_work_or_say_why_not(
    hamsa: Hamsa, workplace: Path, did: Did
) -> None:
    place = workplace / "mein Modell 模型" / "bundle №1"
    assert hamsa("export", *ARRAYS, "--quiet", "-o", place).code == 0
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    folder = bundle_at(workplace / "nur lesen ü")
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = snapshot(folder)
    with Engine(folder) as engine:
        assert len(engine(PIXELS)["logits"]) == 5
    assert snapshot(folder) == before
    folder.chmod(0o755)
    done = hamsa("export", *ARRAYS, "-o", Path("/proc/bundle"))
    assert done.code == 2
    assert "/proc/bundle" in done.err
    assert "cannot be written" in done.err
    did("spaces and Unicode in both paths; a read-only bundle runs; a place that takes no files: exit 2 and why")


@pytest.fixture
def unlisted() -> Iterator[Path]:
    """A folder whose files may be read by name, but not listed, even when the tests run as root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "folder"
        bundle_at(folder)
        Path(name).chmod(0o755)
        folder.chmod(0o311)
        with unprivileged():
            yield folder
        folder.chmod(0o755)


def test_row_38_a_folder_that_cannot_be_listed_is_an_error_that_says_so(unlisted: Path, did: Did) -> None:
    for use in (Engine, read_images, lambda folder: next_version("triton", folder.parent, folder.name)):
        with pytest.raises(InputError, match=f"{unlisted}.* cannot be listed .Permission denied") as caught:
            use(unlisted)
        assert caught.value.expected
    did("a folder that cannot be listed, as bundle, images or repository: an error that says so")


def test_row_39_a_misspelt_option_model_target_or_key_gets_the_nearest_name(
    refused: Refused, older: Path, did: Did
) -> None:
    Path("recipe.toml").write_text('precison = "fp16"\n')
    wrong = {
        ("--outputt", "x"): "did you mean '--output'?",
        ("--model", "hamsa_nao"): "did you mean 'hamsa_nano'?",
        ("--to", "opnvino"): "did you mean 'openvino'?",
        ("--recipe", "recipe.toml"): "did you mean 'precision'?",
    }
    for arguments, said in wrong.items():
        refused("export", *arguments, says=(said,))
    refused("parity", "older", "--min-cosin", "0.9", says=("did you mean '--min-cosine'?",))
    assert "--rebuild" in refused("build", "older", "--rebild")
    did("option, model, target, recipe key, of three commands: exit 2 with the nearest name")
