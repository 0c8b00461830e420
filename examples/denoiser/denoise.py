"""Denoises a WAV or FLAC file of 16 kHz, block by block, as a microphone would give it.

    python denoise.py BUNDLE NOISY.wav OUT.wav [CLEAN.wav]

Needs hamsa-runtime with an engine, and no PyTorch. With a clean recording, prints how far the noise is below the
speech.
"""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np

from hamsa_runtime import Engine, HamsaError
from hamsa_runtime.clips import load_clip

HOP, DELAY, RATE = 128, 384, 16000


def denoised(bundle: Path, noisy: Path) -> np.ndarray:
    """(samples,), as many as the file has."""
    rest = [np.zeros((1, HOP), np.float32)] * (DELAY // HOP)  # what the model still holds when the file ends
    with Engine(bundle) as engine:
        blocks = [outputs["output"][0] for outputs in engine.stream([noisy, *rest])]
    return np.concatenate(blocks)[DELAY : DELAY + load_clip(noisy).shape[1]]


def snr(found: np.ndarray, clean: np.ndarray) -> float:
    """Of speech over what is not speech, in decibels."""
    return float(10 * np.log10((clean**2).sum() / ((found - clean) ** 2).sum()))


def write_wav(path: Path, samples: np.ndarray) -> None:
    """16 bits."""
    whole = np.rint(np.clip(samples, -1, 1 - 2**-15) * 2**15).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, len(whole), "NONE", ""))
        file.writeframes(whole.tobytes())


def main(words: list[str]) -> int:
    """The command; returns its exit code."""
    if len(words) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    bundle, noisy, out, *clean = map(Path, words)
    try:
        samples = denoised(bundle, noisy)
        write_wav(out, samples)
        if clean:
            [before], [reference] = load_clip(noisy), load_clip(clean[0])
            print(f"SNR {snr(before, reference):.1f} dB before, {snr(samples, reference):.1f} dB after")
    except HamsaError as error:
        print(f"denoise: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
