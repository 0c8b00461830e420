"""Clips: the same samples as libsndfile's, every lie of a header, and what a model of clips takes."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from onnx import TensorProto, helper

from hamsa_runtime import Engine
from hamsa_runtime.clips import MAX_SAMPLES, calls_of_clips, load_clip
from hamsa_runtime.errors import InputError, MissingError
from hamsa_runtime.manifest import Audio, Manifest, manifest_from_json
from hamsa_runtime.preprocess import Images, inputs_from_images

from .manifest_values import Case
from .tiny_bundles import manifest_for, onnx_model, write_files

RATE = 16000
SUBTYPES = {
    "WAV": ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"],
    "WAVEX": ["PCM_16", "PCM_24", "FLOAT"],
    "FLAC": ["PCM_S8", "PCM_16", "PCM_24"],
}
KINDS = [(kind, subtype) for kind, subtypes in SUBTYPES.items() for subtype in subtypes]


def noise(frames: int, channels: int = 1) -> np.ndarray:
    """(frames, channels), with the largest and the smallest sample."""
    x = np.random.default_rng(frames).uniform(-1, 1, (frames, channels))
    x[0], x[-1] = -1, 1
    return x


def written(path: Path, samples: np.ndarray, subtype: str = "PCM_16", kind: str = "WAV", rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, subtype, format=kind)
    return path


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_samples_are_those_of_libsndfile_bit_for_bit(kind: str, subtype: str, channels: int, tmp_path: Path) -> None:
    path = written(tmp_path / "x", noise(70_001 if channels == 1 else 301, channels), subtype, kind)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    found = load_clip(path, Audio("x", RATE, channels))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected.T)
    np.testing.assert_array_equal(load_clip(path.read_bytes(), Audio("x", RATE, channels)), found)


def wav(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def described(kind: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, frame: int | None = None) -> bytes:
    frame = channels * bits // 8 if frame is None else frame
    return struct.pack("<HHIIHH", kind, channels, rate, rate * frame, frame, bits)


def lying(data: bytes, size: int) -> bytes:
    """With another size of its samples."""
    at = data.index(b"data") + 4
    return data[:at] + struct.pack("<I", size) + data[at + 4 :]


def flac(frames: int | None = None, samples: int = 5000) -> bytes:
    """With another number of frames in its header."""
    stream = io.BytesIO()
    soundfile.write(stream, noise(samples), RATE, "PCM_16", format="FLAC")
    data = bytearray(stream.getvalue())
    if frames is not None:
        counted = int.from_bytes(data[18:26], "big") >> 36 << 36 | frames
        data[18:26] = counted.to_bytes(8, "big")
    return bytes(data)


FORMAT, TEN = (b"fmt ", described()), (b"data", b"\1" * 20)
GOOD = wav(FORMAT, TEN)
WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not an audio file"),
    "an MP3 file": (b"ID3\4" + b"\0" * 40, "not an audio file"),
    "no WAVE": (b"RIFF\4\0\0\0AVI ", "not an audio file"),
    "nothing in it": (wav(), "no samples"),
    "a format only": (wav(FORMAT), "no samples"),
    "samples first": (wav(TEN, FORMAT), "its samples come before what they are"),
    "a short format": (wav((b"fmt ", described()[:14]), TEN), "14 bytes of format"),
    "no channels": (wav((b"fmt ", described(channels=0)), TEN), "0 channels, 16000 Hz"),
    "no rate": (wav((b"fmt ", described(rate=0)), TEN), "1 channels, 0 Hz"),
    "another frame": (wav((b"fmt ", described(frame=3)), TEN), "3 bytes of 16-bit samples"),
    "12 bits": (wav((b"fmt ", described(bits=12)), TEN), "samples of the kind 1 with 12 bits"),
    "floats of 16 bits": (wav((b"fmt ", described(3)), TEN), "samples of the kind 3 with 16 bits"),
    "an MP3 inside": (wav((b"fmt ", described(0x55)), TEN), "samples of the kind 85"),
    "extensible without a GUID": (wav((b"fmt ", described(0xFFFE) + bytes(24)), TEN), "samples of the kind 65534"),
    "half a frame": (wav(FORMAT, (b"data", b"\1" * 21)), "21 bytes of samples, of 2 each"),
    "cut off": (GOOD[:-2], "20 bytes of samples declared, 18 there"),
    "of a stream": (lying(GOOD, 0xFFFFFFFF), "4294967295 bytes of samples declared, 20 there"),
    "a chunk beyond the end": (
        GOOD[:-28] + b"LIST" + struct.pack("<I", 2**31) + b"abc",
        "2147483648 bytes declared where 3 are left",
    ),
    "thousands of chunks": (wav(*[(b"LIST", b"")] * 3000, FORMAT, TEN), "more than 1000 chunks"),
    "without samples": (wav(FORMAT, (b"data", b"")), "a clip without samples"),
    "another rate": (wav((b"fmt ", described(rate=44100)), TEN), "44100 Hz"),
    "stereo": (wav((b"fmt ", described(channels=2)), TEN), "2 channels"),
    "NaN": (wav((b"fmt ", described(3, bits=32)), (b"data", struct.pack("<2f", 0, np.nan))), "NaN or infinity"),
    "beyond a float": (wav((b"fmt ", described(3, bits=64)), (b"data", struct.pack("<2d", 0, 1e300))), "NaN or inf"),
    "half a FLAC": (flac()[:3000], "the clip is damaged"),
    "a FLAC with a wrong byte": (flac()[:3000] + b"\x5a" + flac()[3001:], "the clip is damaged"),
    "a FLAC that claims more": (flac(6000), "the clip is damaged"),
    "a FLAC header": (flac()[:60], "the clip is damaged"),
}
TRUE_CAUSES = {
    "another rate": "sox in.wav -r 16000 out.wav",
    "stereo": "sox in.wav -c 1 out.wav",
    "of a stream": "never written",
    "cut off": "cut off",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_clip_of_the_model_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    data, found = WRONG[name]
    path = tmp_path / "clip.wav"
    path.write_bytes(data)
    with pytest.raises(InputError, match=found) as caught:
        load_clip(path, Audio("x", RATE, 1))
    assert str(path) in caught.value.found
    assert TRUE_CAUSES.get(name, "") in str(caught.value)


def test_other_chunks_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(wav((b"LIST", b"odd"), FORMAT, (b"fact", bytes(4)), TEN, (b"id3 ", b"x")))
    np.testing.assert_array_equal(load_clip(path, Audio("x", RATE, 1)), np.full((1, 10), 257 / 2**15, np.float32))


def test_a_file_that_claims_hours_is_refused_by_its_header(tmp_path: Path) -> None:
    """Sparse: nothing of it is read."""
    path = tmp_path / "clip.wav"
    path.write_bytes(lying(GOOD, 2 * (MAX_SAMPLES + 1)))
    with path.open("r+b") as file:
        file.truncate(len(GOOD) + 2 * MAX_SAMPLES)
    with pytest.raises(InputError, match="too long: 67108865 samples of 1"):
        load_clip(path, Audio("x", RATE, 1))
    (tmp_path / "clip.flac").write_bytes(flac(2**36 - 1))
    with pytest.raises(InputError):
        load_clip(tmp_path / "clip.flac", Audio("x", RATE, 1))


def test_what_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.wav"):
        with pytest.raises(InputError, match="no such audio file"):
            load_clip(path, Audio("x", RATE, 1))


def test_flac_without_the_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "x.flac", noise(10), kind="FLAC")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingError, match=r"pip install 'hamsa-runtime\[audio\]'"):
        load_clip(path, Audio("x", RATE, 1))
    assert load_clip(written_without(tmp_path / "x.wav"), Audio("x", RATE, 1)).shape == (1, 10)


def written_without(path: Path) -> Path:
    path.write_bytes(GOOD)
    return path


def of_clips(shape: list[int | str], channels: int = 1, **changes: Any) -> dict[str, Any]:
    """A manifest of a model of clips."""
    axes = [{"name": "samples", "min": 4, "max": 400, "example": 100}] if "samples" in shape else []
    given: dict[str, Any] = {
        "inputs": [{"name": "x", "dtype": "float32", "shape": shape, "layout": None}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": shape}],
        "audio": {"input": "x", "sample_rate": RATE, "channels": channels},
        "axes": axes,
        "preprocessing": None,
        "labels": None,
    }
    return manifest_for(**{**given, **changes})


def read(document: dict[str, Any]) -> Manifest:
    return manifest_from_json(Case("", "", "", True, frozenset(), document).data)


SHAPES: list[tuple[list[int | str], int, tuple[int, ...]]] = [
    (["samples"], 1, (40,)),
    (["batch", "samples"], 1, (1, 40)),
    ([1, 40], 1, (1, 40)),
    ([2, "samples"], 2, (2, 40)),
    (["batch", 1, "samples"], 1, (1, 1, 40)),
    ([1, 2, 40], 2, (1, 2, 40)),
]


@pytest.mark.parametrize(("shape", "channels", "expected"), SHAPES)
def test_a_clip_lies_as_the_shape_of_the_input_says(
    shape: list[int | str], channels: int, expected: tuple[int, ...], tmp_path: Path
) -> None:
    path = written(tmp_path / "x.wav", noise(40, channels))
    manifest = read(of_clips(shape, channels))
    samples = load_clip(path, Audio("x", RATE, channels))
    everything: list[Images] = [path, str(path), [path], {"x": path}]
    for given in everything:
        found = inputs_from_images(given, manifest)["x"]
        assert found.shape == expected
        np.testing.assert_array_equal(found.reshape(samples.shape), samples)


@pytest.mark.parametrize(
    ("shape", "channels", "changes"),
    [
        (["batch"], 1, {}),
        (["samples"], 2, {}),
        (["batch", "samples"], 2, {}),
        ([3, "samples"], 2, {}),
        (["samples", "samples"], 1, {}),
        (["batch", 2, "samples"], 1, {}),
        (["samples", 1, "samples"], 1, {}),
        ([1, 1, 1, "samples"], 1, {}),
        ([], 1, {}),
        (["batch", "samples"], 1, {"audio": {"input": "y", "sample_rate": 1, "channels": 1}}),
        (["samples"], 1, {"inputs": [{"name": "x", "dtype": "float64", "shape": ["samples"], "layout": None}]}),
    ],
)
def test_an_input_that_holds_no_clips_is_refused(
    shape: list[int | str], channels: int, changes: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=r"manifest\.json: audio: (the )?input is"):
        read(of_clips(shape, channels, **changes))


def test_audio_beside_preprocessing_is_refused() -> None:
    with pytest.raises(InputError, match="audio: input is 'image'"):
        read(manifest_for(audio={"input": "image", "sample_rate": 1, "channels": 1}))


def test_several_clips_are_a_batch_if_they_are_of_one_length(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{i}.wav", noise(n)) for i, n in enumerate((40, 40, 41))]
    batched, alone = read(of_clips(["batch", "samples"])), read(of_clips(["samples"]))
    assert inputs_from_images(paths[:2], batched)["x"].shape == (2, 40)
    with pytest.raises(InputError, match=r"2\.wav: 41 samples, 40 in .*0\.wav"):
        inputs_from_images(paths, batched)
    with pytest.raises(InputError, match="2 clips at once"):
        inputs_from_images(paths[:2], alone)


def test_a_clip_of_another_length_is_refused_with_both(tmp_path: Path) -> None:
    path = written(tmp_path / "x.wav", noise(41))
    for document, way in ((of_clips([1, 40]), "--dynamic"), (streaming(), r"engine\.stream\(\[path\]\)")):
        with pytest.raises(InputError, match=f"41 samples\n  expected: {document['inputs'][0]['shape'][1]}.*\n.*{way}"):
            inputs_from_images(path, read(document))
    path = written(tmp_path / "x.wav", noise(401))
    with pytest.raises(InputError, match="the axis 'samples' is 401 in 'x'"):
        inputs_from_images(path, read(of_clips(["samples"])))


BLOCK = 16


def streaming() -> dict[str, Any]:
    shape = [1, BLOCK]
    ports = {"input": "state.last", "output": "next.last"}
    state = {"name": "last", "dtype": "float32", "shape": shape, **ports, "stored": False}
    return of_clips(
        [*shape], outputs=[{"name": "y", "dtype": "float32", "shape": shape}], states=[state], target="onnx"
    )


@pytest.fixture
def delaying(tmp_path: Path) -> Path:
    """A bundle whose output is the block before."""
    nodes = [
        helper.make_node("Identity", ["state.last"], ["y"]),
        helper.make_node("Identity", ["x"], ["next.last"]),
    ]
    ports = {name: (name, TensorProto.FLOAT, [1, BLOCK]) for name in ("x", "state.last", "y", "next.last")}
    model = onnx_model(nodes, [ports["x"], ports["state.last"]], [ports["y"], ports["next.last"]], {})
    folder = tmp_path / "delaying"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return write_files(folder, streaming())


def test_a_stream_cuts_each_file_into_blocks_and_starts_anew_with_it(delaying: Path, tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{i}.wav", noise(n)) for i, n in enumerate((40, 32, 5))]
    clips = [load_clip(path, Audio("x", RATE, 1)) for path in paths]
    with Engine(delaying) as engine:
        found = [each["y"] for each in engine.stream(paths)]
        assert len(found) == 3 + 2 + 1
        starts = [0, 3, 5]
        for start, clip in zip(starts, clips, strict=True):
            assert not found[start].any()  # what the file before has left is gone
            blocks = -(-clip.shape[1] // BLOCK)
            filled = np.zeros((1, BLOCK * blocks), np.float32)
            filled[:, : clip.shape[1]] = clip
            joined = np.concatenate(found[start : start + blocks], axis=1)
            np.testing.assert_array_equal(joined[:, BLOCK:], filled[:, :-BLOCK])
        # arrays go on where the last call ended
        last = np.concatenate([clips[2], np.zeros((1, BLOCK - 5), np.float32)], axis=1)
        np.testing.assert_array_equal(engine(last)["y"], last)
        assert [each["y"].any() for each in engine.stream([last, paths[2]])] == [True, False]


def test_a_file_without_a_fixed_length_is_one_call(tmp_path: Path) -> None:
    path = written(tmp_path / "x.wav", noise(40))
    document = {**streaming(), **{name: of_clips(["batch", "samples"])[name] for name in ("inputs", "axes")}}
    [(block, starts_anew)] = calls_of_clips([path], read(document))
    assert (block.shape, starts_anew) == ((1, 40), True)
    assert list(calls_of_clips([path], read(of_clips(["batch", "samples"])))) == [(path, False)]
