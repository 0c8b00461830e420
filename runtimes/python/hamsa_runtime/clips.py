"""Audio files to the samples that a model takes: decoding within limits, and what a manifest says of its clips.

Nothing is resampled or mixed: a clip of another sample rate or of other channels is an error, because every way to
change it changes what the model hears, and the tools that users have (sox, ffmpeg) say which one they take.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeGuard

import numpy as np

from hamsa_runtime.errors import InputError, MissingError
from hamsa_runtime.folders import is_file
from hamsa_runtime.interrupts import interruptible
from hamsa_runtime.manifest import Audio, InputSpec, Manifest
from hamsa_runtime.wav import PIECE, WavHeader, damaged, wav_header, wav_pieces

FORMATS = ("WAV", "FLAC")

# 67 million samples, 268 MB decoded, as for images: 70 minutes at 16 kHz, 12 of stereo at 48 kHz.
MAX_SAMPLES = 1 << 26


# A clip's file, where it is not decoded yet: its path, or its content.
Clip: TypeAlias = str | os.PathLike[str] | bytes


def is_clip(given: object) -> TypeGuard[Clip]:
    """Whether it is the path of a clip's file, or its content."""
    return isinstance(given, (str, os.PathLike, bytes))


def load_clip(clip: Clip, how: Audio | None = None) -> np.ndarray:
    """Decodes a WAV or FLAC file: float32 (channels, samples), in [-1, 1] but for WAV files of floats, which may be
    louder.

    Args:
        clip: the path of the file, or its content. WAV is read here, FLAC by the package soundfile.
        how: which sample rate and how many channels it must have; None for any.

    Raises:
        InputError: no such file, another format, rate or number of channels, damaged, empty, above `MAX_SAMPLES` (found
            in the header, before anything is decoded), or not finite.
        MissingError: a FLAC file without the package soundfile.
    """
    name = name_of(clip)
    with _opened(clip) as file:
        start = file.read(12)
        if start[:4] == b"RIFF" and start[8:] == b"WAVE":
            header = wav_header(file, name)
            samples = _filled(wav_pieces(file, header), header, how, name)
        elif start[:4] == b"fLaC":
            samples = _from_flac(file, how, name)
        else:
            raise InputError(
                f"{name}: not an audio file in a known format",
                expected="one of " + ", ".join(FORMATS),
                cause="another format behind this name, or an empty or damaged file",
                fix="sox in.mp3 out.wav",
            )
    if not np.isfinite(samples).all():
        raise InputError(f"{name}: a clip with NaN or infinity in it", expected="finite samples")
    return samples


def name_of(clip: Clip) -> str:
    """What errors call it."""
    return "the bytes of a clip" if isinstance(clip, bytes) else os.fspath(clip)


def _opened(clip: Clip) -> BinaryIO:
    if isinstance(clip, bytes):
        return io.BytesIO(clip)
    path = Path(clip)
    if not is_file(path):
        raise InputError(f"{path}: no such audio file", expected="a file in " + ", ".join(FORMATS))
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", expected="a file that may be read") from error


def arrays_from_clips(given: Any, manifest: Manifest) -> Any:
    """What an engine takes, with arrays for the paths of clips in it; anything else as it is.

    Args:
        given: a path, several, or a dict of inputs by name.
        manifest: of a bundle with `audio`.

    Raises:
        InputError: a clip does not fit the model, or several clips do not fit together.
    """
    how = manifest.audio
    assert how is not None
    spec = _spec_of(how, manifest)
    if isinstance(given, Mapping):
        if not _holds_clips(given.get(how.input)):
            return given
        return {**given, how.input: _array(given[how.input], how, spec, manifest)}
    if not _holds_clips(given):
        return given
    array = _array(given, how, spec, manifest)
    return array if len(manifest.inputs) == 1 else {how.input: array}


def calls_of_clips(given: Iterable[Any], manifest: Manifest) -> Iterator[tuple[Any, bool]]:
    """What an engine is called with for each item of a stream, and whether the model then starts anew.

    To a model that keeps something between calls, each clip's file is a stream of its own. Where its input has a fixed
    length n, the file is cut into blocks of n samples, in order, and the last one is filled up with zeros.
    """
    for each in given:
        if manifest.audio is None or not manifest.states or not is_clip(each):
            yield each, False
            continue
        for i, block in enumerate(_blocks(each, manifest.audio, manifest)):
            yield block, i == 0


def _blocks(clip: Clip, how: Audio, manifest: Manifest) -> Iterator[np.ndarray]:
    samples, spec = load_clip(clip, how), _spec_of(how, manifest)
    size = spec.shape[-1]
    size = size if isinstance(size, int) else samples.shape[1]
    for start in range(0, samples.shape[1], size):
        block = np.zeros((how.channels, size), np.float32)
        found = samples[:, start : start + size]
        block[:, : found.shape[1]] = found
        yield shaped(block, spec)


def shaped(samples: np.ndarray, spec: InputSpec) -> np.ndarray:
    """(channels, samples) with the dimensions of the input: a batch of one where it has a batch."""
    return {1: samples[0], 2: samples, 3: samples[None]}[len(spec.shape)]


def _spec_of(how: Audio, manifest: Manifest) -> InputSpec:
    return next(spec for spec in manifest.inputs if spec.name == how.input)


def _holds_clips(given: Any) -> bool:
    paths = given if isinstance(given, list | tuple) else [given]
    return bool(paths) and all(map(is_clip, paths))


def _array(given: Any, how: Audio, spec: InputSpec, manifest: Manifest) -> np.ndarray:
    paths = given if isinstance(given, list | tuple) else [given]
    if len(paths) > 1 and not how.is_batched(spec):
        raise InputError(f"{len(paths)} clips at once", expected=f"one: the input {spec.name!r} has no batch")
    clips = [_of_length(path, load_clip(path, how), spec, manifest) for path in paths]
    for path, clip in zip(paths, clips, strict=True):
        if clip.shape != clips[0].shape:
            raise InputError(
                f"{name_of(path)}: {clip.shape[1]} samples, {clips[0].shape[1]} in {name_of(paths[0])}",
                expected="clips of one length in a batch",
                fix="call the engine for each, or engine.stream(paths)",
            )
    arrays = [shaped(clip, spec) for clip in clips]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _of_length(path: Any, clip: np.ndarray, spec: InputSpec, manifest: Manifest) -> np.ndarray:
    size = spec.shape[-1]
    if isinstance(size, int) and clip.shape[1] != size:
        blocks = f"engine.stream([path]) takes a clip of any length, in blocks of {size}"
        fixed = f"cut or fill it; or export with a free length: --dynamic {spec.name}:{len(spec.shape) - 1}=samples"
        raise InputError(
            f"{name_of(path)}: {clip.shape[1]} samples",
            expected=f"{size}, the length of the input {spec.name!r}",
            fix=blocks if manifest.states else fixed,
        )
    return clip


def _filled(pieces: Iterable[np.ndarray], header: WavHeader, how: Audio | None, name: str) -> np.ndarray:
    """The pieces (frames, channels) put together as (channels, frames)."""
    _check(header, how, name)
    samples = np.empty((header.channels, header.frames), np.float32)
    done = 0
    for piece in pieces:
        samples[:, done : done + len(piece)] = piece.T
        done += len(piece)
    if done != header.frames:
        raise damaged(name, f"{done} samples of {header.frames}")
    return samples


def _check(header: WavHeader, how: Audio | None, name: str) -> None:
    if how is not None and header.sample_rate != how.sample_rate:
        raise InputError(
            f"{name}: {header.sample_rate} Hz",
            expected=f"{how.sample_rate} Hz: a runtime does not resample",
            fix=f"sox in.wav -r {how.sample_rate} out.wav",
        )
    if how is not None and header.channels != how.channels:
        raise InputError(
            f"{name}: {header.channels} {'channel' if header.channels == 1 else 'channels'}",
            expected=f"{how.channels}: a runtime does not mix channels",
            fix=f"sox in.wav -c {how.channels} out.wav",
        )
    if not header.frames:
        raise InputError(f"{name}: a clip without samples", expected="at least one")
    if header.frames * header.channels > MAX_SAMPLES:
        raise InputError(
            f"{name}: too long: {header.frames} samples of {header.channels}",
            expected=f"at most {MAX_SAMPLES} samples of all channels together",
            cause="a header that lies, or a recording of hours",
            fix="cut it first",
        )


def _from_flac(file: BinaryIO, how: Audio | None, name: str) -> np.ndarray:
    try:
        with interruptible():
            import soundfile
    except (ImportError, OSError) as error:  # OSError: it is there, and libsndfile is not
        raise MissingError(
            f"{name}: FLAC files cannot be read: {error}",
            expected="the package soundfile",
            fix="pip install 'hamsa-runtime[audio]'; WAV files need no package",
        ) from error
    try:
        file.seek(0)
        with soundfile.SoundFile(file) as flac:
            header = WavHeader(flac.samplerate, flac.channels, 0, 0, 0, flac.frames)
            pieces = (flac.read(PIECE, dtype="float32", always_2d=True) for _ in range(0, max(flac.frames, 0), PIECE))
            return _filled(pieces, header, how, name)
    except soundfile.SoundFileError as error:
        raise damaged(name, str(error)) from error
