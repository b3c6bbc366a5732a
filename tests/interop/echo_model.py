"""The stand-in for the speech model: it answers every 80 ms frame with the same frame.

One object serves all connections, as the model of NVIDIA's server does, and keeps the prompts of whoever asked last.
Like a GPU step, `step` blocks the calling thread for as long as it takes.
"""

import math
import os
import time
from pathlib import Path

import numpy as np
import sphn
from numpy.typing import NDArray

from tests.interop.flags import Flags

FRAME_SAMPLES = 1_920
FRAME_SECONDS = 0.08
SILENCE_STEPS = 6
"""Half a second at 12.5 steps a second, after the voice and again after the text."""

IDLE_SECONDS = 0.02
"""A step that begins within this time of the last one follows it without a gap, so that `--speed` is met exactly."""

EPAD, PAD = 0, 3
"""Text tokens without a piece; the server sends nothing for them."""

SENTENCE = ("▁The", "▁model", "▁at", "▁the", "▁café", "▁re", "peat", "s", "▁every", "▁word", ".")
EMOJI = ("▁", "<0xF0>", "<0x9F>", "<0x99>", "<0x82>")
FIRST_PIECE_TOKEN = 10

VOICE_MAGIC = b"PK-voice:"
"""What a loadable voice embedding begins with here; real ones are PyTorch archives."""


class ModelFailure(Exception):
    """The model broke in the middle of a session."""


class EchoModel:
    """Prompts, steps and text pieces of the stand-in model."""

    def __init__(self, flags: Flags) -> None:
        self._flags = flags
        self._vocabulary = SENTENCE + EMOJI if flags.byte_pieces else SENTENCE
        self._frames = 0
        self._step_ended_at = 0.0
        self.voice_path = ""
        self.voice = ""
        self.text_prompt: str | None = None
        self.text_tokens: list[str] | None = None

    def load_voice(self, path: str) -> None:
        """Take a voice prompt; the path is remembered before it is known to be loadable.

        So asking again for a file that can't be loaded succeeds, and the voice before stays in use.
        Raises `ValueError` or what `sphn.read` raises.
        """
        if path == self.voice_path:
            return
        self.voice_path = path
        if path.endswith(".pt"):
            content = Path(path).read_bytes()
            if not content.startswith(VOICE_MAGIC):
                raise ValueError("no voice embeddings")
            self.voice = content.removeprefix(VOICE_MAGIC).decode()
        else:
            sphn.read(path)
            self.voice = os.path.basename(path)

    def take_text(self, prompt: str) -> None:
        """Take a text prompt; an empty one leaves no tokens, over which the text phase will fail."""
        if not prompt:
            self.text_prompt = self.text_tokens = None
            return
        text = prompt.strip()
        if not (text.startswith("<system>") and text.endswith("<system>")):
            text = f"<system> {text} <system>"
        self.text_prompt = text
        self.text_tokens = text.split()

    def voice_step_seconds(self) -> list[float]:
        """Return the model time of each step that the voice prompt takes; without a voice there are none."""
        if not self.voice:
            return []
        count = max(self._flags.voice_steps, math.ceil(self._flags.prompt_seconds / FRAME_SECONDS))
        return [self._flags.prompt_seconds / count] * count

    def prompt_step(self, seconds: float = 0.0) -> None:
        """Run one step of a prompt."""
        if seconds:
            time.sleep(seconds)

    def reset(self) -> None:
        """Begin a new session."""
        self._frames = 0
        self._step_ended_at = 0.0

    def step(self, frame: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
        """Answer one frame: return the audio and the text token."""
        if self._flags.step_seconds:
            time.sleep(self._flags.step_seconds)
        if self._flags.speed:
            self._keep_pace(FRAME_SECONDS / self._flags.speed)
        self._frames += 1
        return frame, self._token()

    def piece(self, token: int) -> str:
        """Return a token's piece of text, word mark included."""
        return self._vocabulary[(token - FIRST_PIECE_TOKEN) % len(self._vocabulary)]

    def _keep_pace(self, seconds: float) -> None:
        """Return `seconds` after the end of the step before, or after now when the model stood idle since then."""
        now = time.monotonic()
        is_busy = now - self._step_ended_at < IDLE_SECONDS
        self._step_ended_at = (self._step_ended_at if is_busy else now) + seconds
        time.sleep(max(0.0, self._step_ended_at - now))

    def _token(self) -> int:
        every = self._flags.text_every
        if not every:
            return PAD
        if self._frames % every == 0:
            return FIRST_PIECE_TOKEN + (self._frames // every - 1)
        return EPAD if (self._frames + 1) % every == 0 else PAD
