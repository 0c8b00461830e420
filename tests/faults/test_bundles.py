"""Bundles that were changed, and the life of an engine."""

from __future__ import annotations

import json
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hamsa_runtime import Engine
from hamsa_runtime.backends import backend_for
from hamsa_runtime.errors import EngineClosedError, HamsaError, InputError

from .conftest import PIXELS, Did, Hamsa, bundle_at

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FLIPS = 40  # of each file, of which the first and the last byte are two


def flipped(data: bytes, rng: random.Random) -> list[bytes]:
    """Copies with one bit changed: in the first byte, in the last, and anywhere."""
    places = [0, len(data) - 1, *(rng.randrange(len(data)) for _ in range(FLIPS - 2))]
    return [data[:i] + bytes([data[i] ^ (1 << rng.randrange(8))]) + data[i + 1 :] for i in places]


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_row_12_a_file_that_was_changed_or_cut_is_refused_before_anything_is_deserialised(
    workplace: Path, hamsa: Hamsa, monkeypatch: pytest.MonkeyPatch, target: str, did: Did
) -> None:
    folder, rng = bundle_at(workplace / "bundle", target), random.Random(12)
    files = sorted(path for path in folder.iterdir() if path.name != "manifest.json")
    monkeypatch.setattr("hamsa_runtime.engine.backend_for", lambda *_: pytest.fail("an engine was asked for"))
    for path in files:
        good = path.read_bytes()
        for data in [*flipped(good, rng), good[:-1], good + b"\0", bytes(len(good)), b""]:
            path.write_bytes(data)
            with pytest.raises(InputError, match=f"{path.name}: .*sha256"):
                Engine(folder)
        done = hamsa("parity", folder, "--against", folder)
        assert (done.code, path.name in done.err, "sha256" in done.err) == (2, True, True)
        path.write_bytes(good)
    names = ", ".join(path.name for path in files)
    did(f"{names}: {FLIPS} bits flipped, cut, grown, zeroed, emptied: all found by Engine and hamsa-parity")


def test_row_12_a_flipped_bit_of_the_manifest_is_refused_or_leaves_it_valid(workplace: Path, did: Did) -> None:
    """A hash cannot protect the file that holds it: a change that leaves it valid, such as of a label, is taken."""
    folder, rng = bundle_at(workplace / "bundle"), random.Random(13)
    path = folder / "manifest.json"
    refused = 0
    copies = [each for _ in range(5) for each in flipped(path.read_bytes(), rng)]
    for data in copies:
        path.write_bytes(data)
        try:
            with Engine(folder, threads=1) as engine:
                assert engine.manifest.inputs
        except HamsaError:
            refused += 1
    assert refused > len(copies) / 2
    did(
        f"manifest.json: {len(copies)} bits flipped: {refused} refused, {len(copies) - refused} in names and numbers "
        "that no hash covers; never another exception"
    )


def test_row_13_an_engine_file_without_a_manifest_is_refused(bundle: Path, did: Did) -> None:
    (bundle / "manifest.json").unlink()
    for place in (bundle, bundle / "model.onnx"):
        with pytest.raises(InputError) as caught:
            Engine(place)
        assert "engine files alone are not run" in caught.value.cause
        assert str(place) in caught.value.found
    did("model.onnx by itself, and in a folder without a manifest: refused; there is no flag that trusts it")


def test_row_14_a_manifest_that_is_wrong_huge_nested_or_escaping_is_rejected_within_limits(
    bundle: Path, did: Did
) -> None:
    path = bundle / "manifest.json"
    good = json.loads(path.read_text())
    entry = next(iter(good["files"].values()))
    bad: dict[str, Any] = {
        "schema": {**good, "schema": 2},
        "unknown key": {**good, "tagret": "onnx"},
        "precision": {**good, "precision": 16},
        "crop_fraction": {**good, "preprocessing": {**good["preprocessing"], "crop_fraction": 10**400}},
        "..": {**good, "files": {"../model.onnx": entry}},
        "/etc": {**good, "files": {"/etc/passwd": entry}},
        "C:": {**good, "files": {"C:\\model.onnx": entry}},
    }
    texts = {said: json.dumps(document) for said, document in bad.items()}
    texts |= {"levels deep": "[" * 100_000, "more than 4194304 bytes": " " * (5 * 2**20), "not JSON": "{"}
    for said, text in texts.items():
        path.write_text(text)
        with pytest.raises(InputError) as caught:
            Engine(bundle)
        assert said in caught.value.found
        assert str(bundle) in caught.value.found
        assert caught.value.expected
    did(f"{len(texts)} manifests: newer, misspelt, wrong type, 400 digits, 5 MiB, 100,000 deep, three escaping paths")


def test_row_32_inputs_of_a_wrong_type_or_shape_are_rejected_before_native_code(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, did: Did
) -> None:
    odd: dict[str, np.ndarray] = {
        "dtype": PIXELS.astype(np.float64),
        "rank": PIXELS[None],
        "size": np.zeros((1, 3, 9, 12), np.float32),
        "layout": PIXELS.transpose(0, 3, 1, 2),
        "four channels": np.zeros((8, 12, 4), np.uint8),
        "empty": PIXELS[:0],
        "objects": np.array([None]),
    }
    with Engine(bundle, threads=1) as engine:
        expected = engine(PIXELS)["logits"]
        wide = np.zeros((5, 8, 24, 3), np.uint8)
        wide[:, :, ::2] = PIXELS
        np.testing.assert_array_equal(engine(wide[:, :, ::2])["logits"], expected)
        monkeypatch.setattr(backend_for("onnx", None), "infer", lambda *_: pytest.fail("native code was called"))
        for images in odd.values():
            with pytest.raises(InputError):
                engine(images)
    did(f"{len(odd)} arrays ({', '.join(odd)}): refused before native code; one not contiguous gave the same numbers")


def test_row_33_a_size_product_that_overflows_is_an_error(bundle: Path, did: Did) -> None:
    path = bundle / "manifest.json"
    document = json.loads(path.read_text())
    document["outputs"][0]["shape"] = ["batch", 2**53, 2**53]
    path.write_text(json.dumps(document))
    with pytest.raises(HamsaError), Engine(bundle, threads=1) as engine:
        engine(PIXELS)
    did("Python: an output of 2**106 numbers in the manifest: an error, nothing allocated")


def test_row_34_many_threads_on_one_engine_get_what_one_thread_gets(bundle: Path, did: Did) -> None:
    batches = np.random.default_rng(5).integers(0, 256, (40, 2, 8, 12, 3), dtype=np.uint8)
    with Engine(bundle, threads=1) as engine:
        expected = [engine(batch)["logits"] for batch in batches]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda batch: engine(batch)["logits"], batches))
    np.testing.assert_array_equal(found, expected)
    did("8 threads, 40 batches on one engine: the numbers of one thread")


def test_row_35_use_after_close_is_a_defined_exception(bundle: Path, did: Did) -> None:
    engine = Engine(bundle, threads=1)
    outcomes: list[str] = []

    def work() -> None:
        try:
            while True:
                engine(PIXELS)
        except EngineClosedError:
            outcomes.append("closed")

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    engine.close()
    engine.close()
    for worker in workers:
        worker.join(60)
    assert outcomes == ["closed"] * 4
    for use in (lambda: engine(PIXELS), engine.describe, engine.__enter__, lambda: next(engine.stream([PIXELS[0]]))):
        with pytest.raises(EngineClosedError, match="was closed"):
            use()
    did("closed twice, under 4 threads that infer; then called, described, entered, streamed: EngineClosedError")


def soaked(bundle: Path, inferences: int, loads: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """The growth of both, after 30 warm-ups, as benchmarks/soak.py measures it."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    from soak import LARGEST_GROWTH, memory_growth

    def load() -> None:
        with Engine(bundle, threads=1) as each:
            each(PIXELS)

    with Engine(bundle, threads=1) as engine:
        growths = [memory_growth(lambda: engine(PIXELS), inferences), memory_growth(load, loads)]
    shares = [after / before - 1 for before, after in growths]
    assert max(shares) < LARGEST_GROWTH
    return f"{inferences} inferences: {shares[0]:+.1%} memory; {loads} loads: {shares[1]:+.1%}"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_row_36_memory_does_not_grow_over_many_inferences_and_loads(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, did: Did
) -> None:
    did(soaked(bundle, 300, 20, monkeypatch))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_row_36_memory_does_not_grow_over_ten_thousand_inferences(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, did: Did
) -> None:
    did(soaked(bundle, 10_000, 200, monkeypatch))
