"""Write the clips of hamsa_deploy/samples/clips: the synthesised ones, 16 kHz, 16 bits.

    python examples/make_clips.py

Ours, without a licence of somebody else: hamsa_deploy/samples/synthesis.py makes them.
"""

from __future__ import annotations

from pathlib import Path

import soundfile

from hamsa_deploy.samples.synthesis import sample_clips

FOLDER = Path(__file__).parent.parent / "hamsa_deploy" / "samples" / "clips"
SAMPLE_RATE = 16000
KINDS = ("voice", "chord")


def main() -> None:
    """Write them; one is a WAV file."""
    FOLDER.mkdir(exist_ok=True)
    for number, clip in enumerate(sample_clips(SAMPLE_RATE)):
        suffix = "wav" if number == 5 else "flac"
        path = FOLDER / f"{KINDS[number % 2]}_{number // 2}.{suffix}"
        soundfile.write(path, clip.T, SAMPLE_RATE, "PCM_16")
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
