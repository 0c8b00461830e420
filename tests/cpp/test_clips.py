"""The same file gives the same samples, or the same refusal, in both runtimes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hamsa_runtime.clips import load_clip
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Audio
from hamsa_runtime.preprocess import inputs_from_images

from ..runtime.test_clips import KINDS, RATE, SHAPES, WRONG, noise, of_clips, read, streaming, written
from .building import Probe


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_samples_are_the_same_bit_for_bit(probe: Probe, kind: str, subtype: str, channels: int, tmp_path: Path) -> None:
    path = written(tmp_path / "mit Leerzeichen ü", noise(70_001 if channels == 1 else 301, channels), subtype, kind)
    said = probe.ask("clip", path, tmp_path / "out.npy")
    if said.get("kind") == "MissingError":
        pytest.skip("this build has no libsndfile")
    assert said == {}
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), load_clip(path, Audio("x", RATE, channels)))


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_clip_is_refused_in_the_same_words(probe: Probe, name: str, tmp_path: Path) -> None:
    path, document = tmp_path / "clip.wav", tmp_path / "manifest.json"
    path.write_bytes(WRONG[name][0])
    document.write_text(json.dumps(of_clips(["samples"])))
    said = probe.ask("prepare", document, path, tmp_path / "out.npy")
    with pytest.raises(InputError) as caught:
        load_clip(path, Audio("x", RATE, 1))
    if "FLAC" in name:  # how libsndfile says it
        assert said["kind"] in ("InputError", "MissingError")
        return
    error = caught.value
    assert (said["found"], said["expected"]) == (error.found, error.expected)
    assert (said["cause"], said["fix"]) == (error.cause, error.fix)


@pytest.mark.parametrize(("shape", "channels", "expected"), SHAPES)
def test_a_clip_lies_as_the_shape_says(
    probe: Probe, shape: list[int | str], channels: int, expected: tuple[int, ...], tmp_path: Path
) -> None:
    document = of_clips(shape, channels)
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    path = written(tmp_path / "x.wav", noise(40, channels))
    assert probe.ask("prepare", tmp_path / "manifest.json", path, tmp_path / "out.npy") == {}
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), inputs_from_images(path, read(document))["x"])


@pytest.mark.parametrize("document", [of_clips([1, 40]), streaming()], ids=["fixed", "with state"])
def test_another_length_is_refused_with_both(probe: Probe, document: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    path = written(tmp_path / "x.wav", noise(41))
    with pytest.raises(InputError) as caught:
        inputs_from_images(path, read(document))
    said = probe.ask("prepare", tmp_path / "manifest.json", path, tmp_path / "out.npy")
    assert (said["found"], said["expected"]) == (caught.value.found, caught.value.expected)


def test_random_damage_gives_samples_or_an_error(probe: Probe, tmp_path: Path) -> None:
    """The same of both."""
    rng = np.random.default_rng(1)
    path = written(tmp_path / "x.wav", noise(40))
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    kinds = set()
    for _ in range(100):
        broken = whole.copy()
        broken[rng.integers(0, 46, 2)] = rng.integers(0, 256, 2)
        path.write_bytes(broken.tobytes())
        try:
            load_clip(path, Audio("x", RATE, 1))
            found = None
        except InputError as error:
            found = error.found
        said = probe.ask("clip", path, tmp_path / "out.npy").get("found")
        assert said == found or (found or "").endswith((" Hz", " channels"))  # which the probe does not ask for
        kinds.add(found is None)
    assert kinds == {True, False}
