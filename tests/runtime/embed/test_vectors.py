"""What of a bundle's outputs is kept, how many rows go together, and vectors that are none."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from onnx import TensorProto, helper
from PIL import Image

from hamsa_runtime import Engine
from hamsa_runtime.embed import embed
from hamsa_runtime.embed.vectors import rows_of_a_block, wanted_from
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import manifest_from_json

from ..tiny_bundles import MakeBundle, manifest_for, onnx_model, write_files
from .inputs import png, rows_in


def as_bytes(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps(manifest).encode()


def outputs(**shapes: list[Any]) -> dict[str, Any]:
    return {"outputs": [{"name": name, "dtype": "float32", "shape": shape} for name, shape in shapes.items()]}


REFUSED: dict[str, tuple[Mapping[str, Any], bool, str]] = {
    "logits alone": (outputs(logits=["batch", 4]), False, "no output is called 'embedding', only logits"),
    "two others": (outputs(a=["batch", 4], b=["batch", 4]), False, "no output is called 'embedding', only a, b"),
    "a map": (outputs(embedding=["batch", 4, 7, 7]), False, r"has the shape \(batch, 4, 7, 7\)"),
    "any width": (outputs(embedding=["batch", "2*batch"]), False, r"has the shape \(batch, 2\*batch\)"),
    "no logits": (outputs(embedding=["batch", 4]), True, "labels of a bundle without logits"),
    "another number of labels": (outputs(embedding=["batch", 4], logits=["batch", 3]), True, "4 labels of 3 classes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bundle_that_gives_no_such_vectors(name: str) -> None:
    changes, label, found = REFUSED[name]
    manifest = manifest_from_json(as_bytes(manifest_for(**changes)))
    with pytest.raises(InputError, match=found):
        wanted_from(manifest, "float32", label=label)


def test_the_only_output_and_axes_of_one() -> None:
    manifest = manifest_from_json(as_bytes(manifest_for(**outputs(features=["batch", 512, 1, 1]))))
    wanted = wanted_from(manifest, "float16", label=False)
    assert (wanted.embedding, wanted.width) == ("features", 512)


@pytest.mark.parametrize(
    ("size", "batch", "rows"),
    [
        ((8, 12), "batch", (64, 64)),
        ((8, 12), 1, (64, 64)),
        ((8, 12), 48, (48, 48)),
        ((8, 12), 96, (96, 96)),
        ((224, 224), "batch", (6, 64)),
        ((224, 224), 4, (4, 64)),
        ((1024, 1024), "batch", (1, 5)),
    ],
)
def test_rows_that_go_together_are_whole_batches_within_the_memory(
    size: tuple[int, int], batch: int | str, rows: tuple[int, int]
) -> None:
    manifest = manifest_for()
    manifest["preprocessing"]["size"] = list(size)
    manifest["inputs"][0]["shape"] = [batch, *size, 3]
    read = manifest_from_json(as_bytes(manifest))
    assert (rows_of_a_block(read, on_cpu=True), rows_of_a_block(read, on_cpu=False)) == rows


def bundle_with_a_scale(folder: Path, scale: float) -> Path:
    """The mean of each channel, times something."""
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "scale"], ["y"]),
        helper.make_node("ReduceMean", ["y", "axes"], ["embedding"], keepdims=0),
    ]
    constants = {"scale": np.float32(scale), "axes": np.array([1, 2])}
    image = ("image", TensorProto.UINT8, ["batch", 8, 12, 3])
    folder.mkdir()
    model = onnx_model(nodes, [image], [("embedding", TensorProto.FLOAT, ["batch", 3])], constants)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return write_files(folder, manifest_for(**outputs(embedding=["batch", 3])))


def test_what_does_not_fit_into_half_precision_fails_alone(tmp_path: Path) -> None:
    bundle, photos = bundle_with_a_scale(tmp_path / "bundle", 1000.0), tmp_path / "photos"
    photos.mkdir()
    (photos / "light.png").write_bytes(png(1))
    Image.new("RGB", (12, 8), (10, 20, 30)).save(photos / "dark.png")
    embed(bundle, photos, tmp_path / "half", dtype="float16")
    dark, light = rows_in(tmp_path / "half")
    assert dark["embedding"] == [10000, 20000, 30000]
    assert (light["embedding"], light["error"]) == (None, "the model's vector is not finite in float16")
    embed(bundle, photos, tmp_path / "full")
    assert [row["status"] for row in rows_in(tmp_path / "full")] == ["ok", "ok"]


class Bucket(http.server.BaseHTTPRequestHandler):
    """What S3 answers for one object, photos/a b%20.png."""

    content = png(3)

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(self.content)

    def _answer(self, body: bytes) -> None:
        found = self.path == "/photos/a%20b%2520.png"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(self.content) if found else 0))
        self.send_header("Last-Modified", "Fri, 27 Nov 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body if found else b"")

    def log_message(self, *words: object) -> None:
        pass


def test_files_in_a_bucket(make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a b.png").write_bytes(png(3))
    lines = ["s3://photos/a b%20.png", "s3://photos/none.png", (tmp_path / "a b.png").as_uri(), "ftp://x/y.png"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, value in (
            ("ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}"),
            ("ACCESS_KEY_ID", "somebody"),
            ("SECRET_ACCESS_KEY", "something"),
            ("REGION", "us-east-1"),
        ):
            monkeypatch.setenv(f"AWS_{name}", value)
        embed(make_bundle(), tmp_path / "list.txt", tmp_path / "vectors")
        server.shutdown()
    remote, missing, local, other = rows_in(tmp_path / "vectors")
    assert remote["embedding"] == local["embedding"] is not None
    assert "s3://photos/none.png: cannot be read" in missing["error"]
    assert "ftp://x/y.png: cannot be read" in other["error"]


@pytest.fixture
def clips(tmp_path: Path) -> tuple[Path, Path]:
    """A bundle that gives the mean and the largest sample of a clip of any length, and a folder of clips."""
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
        helper.make_node("ReduceMax", ["x", "axes"], ["max"], keepdims=1),
        helper.make_node("Concat", ["mean", "max"], ["embedding"], axis=1),
    ]
    x = ("x", TensorProto.FLOAT, ["batch", "samples"])
    model = onnx_model(nodes, [x], [("embedding", TensorProto.FLOAT, ["batch", 2])], {"axes": np.array([1])})
    bundle, folder = tmp_path / "bundle", tmp_path / "clips"
    bundle.mkdir()
    (bundle / "model.onnx").write_bytes(model.SerializeToString())
    manifest = manifest_for(
        preprocessing=None,
        labels=None,
        inputs=[{"name": "x", "dtype": "float32", "shape": ["batch", "samples"], "layout": None}],
        axes=[{"name": "samples", "min": 1, "max": None, "example": 100}],
        audio={"input": "x", "sample_rate": 16000, "channels": 1},
        **outputs(embedding=["batch", 2]),
    )
    folder.mkdir()
    for i, rate in enumerate((16000, 16000, 8000)):
        samples = np.random.default_rng(i).integers(-99, 99, 100 + 50 * i, dtype=np.int16)
        soundfile.write(folder / f"{i}.{'flac' if i == 1 else 'wav'}", samples, rate)
    (folder / "cover.png").write_bytes(png(0))
    return write_files(bundle, manifest), folder


def test_clips_of_any_length_of_the_bundles_rate(clips: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, folder = clips
    found = embed(bundle, folder, tmp_path / "vectors")
    rows = rows_in(tmp_path / "vectors")
    assert [row["id"] for row in rows] == ["0.wav", "1.flac", "2.wav"]
    assert found.failed == 1
    assert "2.wav: 8000 Hz" in rows[2]["error"]
    with Engine(bundle) as engine:
        for row in rows[:2]:
            np.testing.assert_array_equal(row["embedding"], engine.embed(folder / row["id"])[0])


def test_clips_in_a_table_are_those_of_files(clips: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, folder = clips
    names = ["0.wav", "1.flac", "2.wav"]
    table = pa.table({"id": names, "bytes": [(folder / name).read_bytes() for name in names]})
    pq.write_table(table, tmp_path / "clips.parquet")
    embed(bundle, folder, tmp_path / "files")
    embed(bundle, tmp_path / "clips.parquet", tmp_path / "bytes")
    files, contents = rows_in(tmp_path / "files"), rows_in(tmp_path / "bytes")
    assert [row["embedding"] for row in files] == [row["embedding"] for row in contents]
    assert "the bytes of a clip: 8000 Hz" in contents[2]["error"]
