"""`python -m tests.sentences.make` makes the sounds and the grammar anew, with espeak-ng (apt install espeak-ng)."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr

from tests.sentences import GRAMMAR, HERE, RATE_HZ, TEXTS

VOICES = ("en-us", "en-us+f3", "en-gb")
"""They take turns."""
LEVEL = 0.5
"""Of the loudest sample."""


def main() -> None:
    """Write one FLAC file for each sentence, and the grammar."""
    with tempfile.TemporaryDirectory() as folder:
        spoken = Path(folder) / "spoken.wav"
        for number, (name, text) in enumerate(TEXTS.items()):
            voice = VOICES[number % len(VOICES)]
            subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", str(spoken), text], check=True)
            samples, rate_hz = soundfile.read(spoken, dtype="float32")
            samples = soxr.resample(samples, rate_hz, RATE_HZ)
            soundfile.write(HERE / f"{name}.flac", samples * (LEVEL / np.abs(samples).max()), RATE_HZ)
    sentences = "\n  | ".join(TEXTS.values())
    GRAMMAR.write_text(f"#JSGF V1.0;\ngrammar sentences;\npublic <sentence> =\n    {sentences}\n  ;\n")


if __name__ == "__main__":
    main()
