"""Clips of our own, synthesised: what a model of clips is compared, calibrated and timed on where nobody names others.

A voice is a sum of harmonics of a pitch f0(t) that glides and trembles, weighed by formants F (resonances of a vocal
tract, from Peterson and Barney 1952) that move from vowel to vowel, with a syllable's envelope, and breath (noise):

    x(t) = e(t) sum_k sin(2 pi k phi(t)) / k sum_F exp(-((k f0(t) - F(t)) / 200 Hz)^2),    phi' = f0

A chord is four tones with decaying harmonics, struck anew. All of it is a function of the sample rate: a model of 8 or
48 kHz is given what it would hear, not what was resampled. examples/make_clips.py writes those of clips/.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hamsa_runtime.batches import example_sizes, sized
from hamsa_runtime.manifest import Audio, Axis, InputSpec

SECONDS = (1.0, 0.8, 1.1, 0.7, 0.9, 0.6, 1.0, 0.75)
# First and second formant of five vowels, in Hz.
VOWELS = np.array([(730, 1090), (270, 2290), (300, 870), (530, 1840), (570, 840)])
SPREAD = 200.0
SYLLABLES = 4  # a second
CHORDS = ((0, 4, 7, 12), (0, 3, 7, 10), (-5, 0, 4, 9), (2, 5, 9, 14))  # semitones above 220 Hz
LOUDNESS = 0.5  # the largest sample
BLOCKS = 100


@functools.cache
def sample_clips(sample_rate: int, channels: int = 1) -> tuple[np.ndarray, ...]:
    """Four voices and four chords in turn, float32 (channels, samples), at most 0.5; the same at every call."""
    return tuple(_clip(number, sample_rate, channels) for number in range(len(SECONDS)))


def sample_input(spec: InputSpec, how: Audio, sizes: Mapping[str, int], start: int) -> np.ndarray:
    """An input of clips: all samples one after the other, from `start` on, and once more when they end.

    Args:
        spec: the input, with the shape that `how` says.
        how: of the manifest.
        sizes: of its free axes.
        start: the first sample; of a batch, the clips follow one another.
    """
    track = np.concatenate(sample_clips(how.sample_rate, how.channels), axis=1)
    shape = sized(spec.shape, sizes)
    clips = shape[0] if how.is_batched(spec) else 1
    rows = [np.arange(shape[-1]) + start + i * shape[-1] for i in range(clips)]
    return np.stack([np.take(track, row, axis=1, mode="wrap") for row in rows]).reshape(shape)


def sample_calls(
    how: Audio, specs: Sequence[InputSpec], axes: Sequence[Axis], *, keeps_state: bool
) -> Iterator[tuple[Mapping[str, int], np.ndarray]]:
    """What a model of clips is called with, one call after the other: the sizes of all free axes, and its clip.

    A call for each clip, of the input's length; where that is free, of its usual length and of twice that, in turn. For
    a model that keeps something between calls and has a fixed length: blocks, one after the other.
    """
    spec = next(spec for spec in specs if spec.name == how.input)
    size = spec.shape[-1]
    lengths = [clip.shape[1] for clip in sample_clips(how.sample_rate, how.channels)]
    begins = [sum(lengths[:i]) for i in range(len(lengths))]
    if keeps_state and isinstance(size, int):
        begins = [size * i for i in range(BLOCKS)]
    for number, start in enumerate(begins):
        sizes = example_sizes(axes, 1)
        for axis in axes:
            double = 2 * axis.example
            if axis.name == size and number % 2 and (axis.max is None or double <= axis.max):
                sizes[axis.name] = double
        yield sizes, sample_input(spec, how, sizes, start)


def _clip(number: int, sample_rate: int, channels: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    t = np.arange(round(SECONDS[number] * sample_rate)) / sample_rate
    make = _chord if number % 2 else _voice
    heard = np.stack([make(number, t, 0.3 * channel, rng) for channel in range(channels)])
    return (heard * (LOUDNESS / np.abs(heard).max())).astype(np.float32)


def _voice(number: int, t: np.ndarray, phase: float, rng: np.random.Generator) -> np.ndarray:
    pitch = (105, 0, 180, 0, 230, 0, 140)[number] * (1 + 0.15 * np.sin(2 * t + number) + 0.01 * np.sin(35 * t))
    turns = np.cumsum(pitch) * (t[1] - t[0])
    vowel = (number + t * SYLLABLES / 2) % (len(VOWELS) - 1)
    formants = [np.interp(vowel, np.arange(len(VOWELS)), VOWELS[:, i]) for i in range(2)]
    envelope = np.sin(np.pi * SYLLABLES * t) ** 2 * np.minimum(1, 20 * t)
    voiced = np.zeros_like(t)
    for k in range(1, 31):
        weight = sum(np.exp(-(((k * pitch - formant) / SPREAD) ** 2)) for formant in formants) + 0.02
        # nothing above half of the sample rate, where it would fold
        weight = np.where(k * pitch < 0.45 / (t[1] - t[0]), weight, 0)
        voiced += weight * np.sin(2 * np.pi * k * turns + phase * k) / k
    return envelope * voiced + 0.004 * rng.standard_normal(len(t))


def _chord(number: int, t: np.ndarray, phase: float, rng: np.random.Generator) -> np.ndarray:
    heard = np.zeros_like(t)
    since = t % 0.4  # struck anew
    for semitones in CHORDS[number // 2]:
        tone = 220 * 2 ** (semitones / 12)
        for k in (1, 2, 3, 5):
            if k * tone < 0.45 / (t[1] - t[0]):
                heard += np.exp(-(3 + k) * since) * np.sin(2 * np.pi * k * tone * t + phase * k) / k**1.5
    return np.minimum(1, 100 * since) * heard + 0.001 * rng.standard_normal(len(t))
