"""Writes clean.wav and noisy.wav: the sample voices of hamsa-deploy, 4 s at 16 kHz, without and with noise.

python make_noisy.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from denoise import RATE, write_wav

from hamsa_deploy.samples.synthesis import sample_clips


def main() -> None:
    """In the current folder."""
    voices = np.concatenate(sample_clips(RATE)[::2], axis=1)[0]
    noise = 0.03 * np.random.default_rng(0).standard_normal(len(voices))
    write_wav(Path("clean.wav"), voices)
    write_wav(Path("noisy.wav"), voices + noise)


if __name__ == "__main__":
    main()
