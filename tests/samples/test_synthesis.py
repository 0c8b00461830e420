"""The synthesised clips, their files, and how they fill an input."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from hamsa_deploy.samples import FOLDER
from hamsa_deploy.samples.synthesis import LOUDNESS, sample_calls, sample_clips
from hamsa_runtime.clips import load_clip
from hamsa_runtime.manifest import Audio, Axis, InputSpec

FILES = sorted((FOLDER / "clips").iterdir())
# The names that examples/make_clips.py gives them, in the order in which they are made.
ORDER = [f"{kind}_{number}" for number in range(4) for kind in ("voice", "chord")]
MOST_BYTES = 200_000
HALF_A_STEP = 2.0**-16


def spec(*shape: int | str) -> InputSpec:
    return InputSpec("x", "float32", shape)


def calls(audio: Audio, given: InputSpec, *axes: Axis, keeps_state: bool = False) -> list[np.ndarray]:
    return [clip for _, clip in sample_calls(audio, [given], axes, keeps_state=keeps_state)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_files_are_what_is_synthesised(path: Path) -> None:
    [expected] = sample_clips(16000)[ORDER.index(path.stem)]
    # To nearest, and perhaps one step off where another processor's sine is.
    assert np.abs(load_clip(path, Audio("x", 16000, 1))[0] - expected).max() <= 3 * HALF_A_STEP


def test_there_are_eight_small_files() -> None:
    assert sorted(path.stem for path in FILES) == sorted(ORDER)
    assert {path.suffix for path in FILES} == {".wav", ".flac"}
    assert sum(path.stat().st_size for path in FILES) < MOST_BYTES


@pytest.mark.parametrize("rate", [8000, 44100])
def test_they_are_heard_at_any_rate_and_fold_nothing(rate: int) -> None:
    for clip in sample_clips(rate):
        assert clip.dtype == np.float32
        assert np.abs(clip).max() == LOUDNESS
        power = np.abs(np.fft.rfft(clip[0])) ** 2
        high = np.fft.rfftfreq(clip.shape[1], 1 / rate) > 0.47 * rate
        assert power[high].sum() < 1e-2 * power.sum()


def test_channels_differ() -> None:
    for left, right in sample_clips(8000, 2):
        assert np.abs(left - right).max() > 0.01


def test_a_call_for_each_clip_of_the_length_of_the_input() -> None:
    found = calls(Audio("x", 8000, 1), spec("batch", 300))
    assert [each.shape for each in found] == [(1, 300)] * 8
    assert all(np.abs(a - b).max() > 0.01 for a, b in itertools.pairwise(found))
    [long, *_] = calls(Audio("x", 8000, 1), spec(3, 1, 60_000))
    assert long.shape == (3, 1, 60_000)
    stereo = calls(Audio("x", 8000, 2), spec(2, 300))
    np.testing.assert_array_equal(stereo[1], sample_clips(8000, 2)[1][:, :300])


def test_a_free_length_is_tried_at_two_within_its_limits() -> None:
    audio = Audio("x", 8000, 1)
    assert {each.shape for each in calls(audio, spec("samples"), Axis("samples", 1, None, 50))} == {(50,), (100,)}
    assert {each.shape for each in calls(audio, spec("samples"), Axis("samples", 1, 99, 50))} == {(50,)}


def test_a_model_with_state_is_given_block_after_block() -> None:
    found = calls(Audio("x", 8000, 1), spec(1, 300), keeps_state=True)
    track = np.concatenate(sample_clips(8000), axis=1)
    np.testing.assert_array_equal(np.concatenate(found, axis=1), track[:, : 300 * len(found)])
