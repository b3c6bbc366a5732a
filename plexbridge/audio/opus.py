"""Opus encoding and decoding: one packet to one span of float PCM and back.

This is the only module that knows pyogg. Of pyogg it uses the plain libopus bindings, which are defined only when
libopus, libogg and libopusfile were all found; what is missing is reported by the first object that needs it, so that
commands which need no codec work without the libraries. Each object owns one libopus state and is used by one task.

The settings below were chosen with `python -m benchmarks.opus_settings`.
"""

import ctypes
import ctypes.util
import functools
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Self

import numpy as np

from plexbridge.audio.pcm import Samples
from plexbridge.errors import LibraryMissing, LocalProtocolError, PacketError

SPANS_PER_SECOND = 400
"""Opus counts time in spans of 2.5 ms, its shortest frame."""

PACKET_SPANS = frozenset((1, 2, 4, 8, 16, 24, 32, 40, 48))
"""What one packet may last: 2.5, 5, 10, 20, 40, 60, 80, 100 or 120 ms."""

PACKET_LIMIT_SPANS = max(PACKET_SPANS)

PACKET_LIMIT_BYTES = 6 * 1_275 + 7
"""The largest packet the encoder makes: six frames of the legal maximum and their framing (RFC 6716 section 3.4)."""

_SET_BITRATE, _SET_COMPLEXITY, _GET_LOOKAHEAD = 4002, 4010, 4027
_LIBRARIES = ("opus", "ogg", "opusfile")


class Application(Enum):
    """What an encoder is for, as libopus numbers it: it decides between speech and music coding, and the delay."""

    VOIP = 2048
    AUDIO = 2049
    RESTRICTED_LOWDELAY = 2051


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """How an encoder trades computing time (complexity 0-10), bits and delay against quality."""

    application: Application
    complexity: int
    bitrate_bps: int


MODEL_UPLINK = EncoderSettings(Application.RESTRICTED_LOWDELAY, complexity=0, bitrate_bps=96_000)
"""Towards the model: the transform codec alone. At this rate it is within 0.2 dB of the best candidate in every band,
adds 2.5 ms instead of 6.5 and costs an eighth of the speech codec at full complexity. Between servers 32 kbit/s more
are worth the 0.9 to 1.7 dB that they bring."""

PEOPLE_DOWNLINK = EncoderSettings(Application.RESTRICTED_LOWDELAY, complexity=0, bitrate_bps=64_000)
"""Towards people: the same codec at the rate of a Discord channel, since people may listen over a telephone. With 3 %
of the packets lost it is as near to the speech as the speech codec at full complexity below 4 kHz, and nearer above.
More complexity costs time and brings next to nothing."""


@contextmanager
def _unchanged_search_path() -> Iterator[None]:
    """Undo what pyogg's loader does to PATH, which it expects to be set and appends to for every library."""
    before = os.environ.get("PATH")
    os.environ["PATH"] = before or ""
    try:
        yield
    finally:
        if before is None:
            del os.environ["PATH"]
        else:
            os.environ["PATH"] = before


def _load() -> tuple[Any, tuple[str, ...]]:
    """Return pyogg's Opus bindings (None when unusable) and the names of the libraries that were not found."""
    with _unchanged_search_path():
        try:
            from pyogg import opus
        except NameError:  # pyogg defines Opus in terms of libogg's types, and breaks off when libogg is missing
            opus = None
        if hasattr(opus, "opus_encode_float"):
            return opus, ()
        missing = tuple(
            name
            for name in _LIBRARIES
            if not (ctypes.util.find_library(name) or ctypes.util.find_library(f"lib{name}"))
        )
    return None, missing or _LIBRARIES


# At import: the search runs external programs (ldconfig), which has no place in a running conversation.
_opus, _missing_libraries = _load()


def _bindings() -> Any:
    if _opus is None:
        raise LibraryMissing(
            f"not found or not loadable: {', '.join(f'lib{name}' for name in _missing_libraries)}."
            " Debian, Ubuntu: apt install libopus0 libogg0 libopusfile0."
            " macOS: brew install opus libogg opusfile (with a Python that is not Homebrew's, also set"
            ' DYLD_FALLBACK_LIBRARY_PATH="$(brew --prefix)/lib").'
            " Windows: the DLLs come with pyogg's wheel for x86-64 Python: pip install --force-reinstall pyogg."
        )
    return _opus


@functools.cache
def _coding_function(opus: Any, name: str, *types: Any) -> Callable[..., int]:
    """Return a function of libopus that takes bytes and addresses; pyogg's want pointers made anew for each packet."""
    function: Any = opus.libopus[name]
    function.argtypes, function.restype = (ctypes.c_void_p, *types), ctypes.c_int
    coding: Callable[..., int] = function
    return coding


def library_version() -> str:
    """Return libopus' own name and version; raises LibraryMissing."""
    version: bytes = _bindings().opus_get_version_string()
    return version.decode()


class _Codec:
    """One libopus state, freed exactly once, and never handed to libopus afterwards."""

    def __init__(self, state: Any, destroy: Callable[[Any], None], *, opus: Any, rate_hz: int, channels: int) -> None:
        self._opus = opus
        self._state = state or None
        self._destroy = destroy
        self._channels = channels
        self._span_samples = rate_hz // SPANS_PER_SECOND

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the libopus state; the object can't be used afterwards. Closing again does nothing."""
        state, self._state = self._state, None
        if state is not None:
            self._destroy(state)

    def _usable_state(self) -> Any:
        if self._state is None:
            raise LocalProtocolError("the codec is closed")
        return self._state

    def _buffer(self) -> Samples:
        """Return room for the longest packet, interleaved."""
        return np.zeros(PACKET_LIMIT_SPANS * self._span_samples * self._channels, np.float32)

    def _checked(self, result: int) -> int:
        """Return what a libopus call returned, or raise LocalProtocolError when it is an error code."""
        if result < 0:
            raise LocalProtocolError(self._opus.opus_strerror(result).decode())
        return result


class Encoder(_Codec):
    """Turns float PCM into Opus packets; a context manager.

    Samples are clipped to -1..1 and NaN counts as silence, so that one bad frame can't spoil the ones after it.
    Raises LibraryMissing, and LocalProtocolError for a rate or setting that Opus does not have.
    """

    def __init__(self, *, rate_hz: int, settings: EncoderSettings, channels: int = 1) -> None:
        opus = _bindings()
        error = ctypes.c_int()
        state = opus.opus_encoder_create(rate_hz, channels, settings.application.value, ctypes.byref(error))
        super().__init__(state, opus.opus_encoder_destroy, opus=opus, rate_hz=rate_hz, channels=channels)
        self._checked(error.value)
        lookahead = ctypes.c_int()
        try:
            self._checked(opus.opus_encoder_ctl(state, _SET_BITRATE, settings.bitrate_bps))
            self._checked(opus.opus_encoder_ctl(state, _SET_COMPLEXITY, settings.complexity))
            self._checked(opus.opus_encoder_ctl(state, _GET_LOOKAHEAD, ctypes.byref(lookahead)))
        except LocalProtocolError:
            self.close()
            raise
        self.lookahead_samples = lookahead.value
        """By how much the decoded audio lags behind the samples, at the encoder's rate."""
        self._legal_samples = frozenset(spans * self._span_samples for spans in PACKET_SPANS)
        self._pcm = self._buffer()
        self._packet = np.zeros(PACKET_LIMIT_BYTES, np.uint8)
        self._pcm_address, self._packet_address = self._pcm.ctypes.data, self._packet.ctypes.data
        self._encode_float = _coding_function(
            opus, "opus_encode_float", ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int32
        )

    def encode(self, samples: Samples) -> bytes:
        """Return the packet for `samples`, which are interleaved when there are two channels.

        Raises LocalProtocolError when they don't last one of `PACKET_SPANS`.
        """
        state = self._usable_state()
        count = samples.size // self._channels
        if count not in self._legal_samples or samples.size % self._channels:
            raise LocalProtocolError(f"{samples.size} samples can't be one Opus packet")
        pcm = self._pcm[: samples.size]
        np.maximum(samples, -1.0, out=pcm)
        np.minimum(pcm, 1.0, out=pcm)
        if math.isnan(pcm.dot(pcm)):
            pcm[np.isnan(pcm)] = 0.0
        size = self._encode_float(state, self._pcm_address, count, self._packet_address, PACKET_LIMIT_BYTES)
        return self._packet[: self._checked(size)].tobytes()


class Decoder(_Codec):
    """Turns Opus packets into float PCM at any Opus rate, whatever rate they were made from; a context manager.

    Two channels come out interleaved. Raises LibraryMissing, and LocalProtocolError for a rate that Opus does not have.
    """

    def __init__(self, *, rate_hz: int, channels: int = 1) -> None:
        opus = _bindings()
        error = ctypes.c_int()
        state = opus.opus_decoder_create(rate_hz, channels, ctypes.byref(error))
        super().__init__(state, opus.opus_decoder_destroy, opus=opus, rate_hz=rate_hz, channels=channels)
        self._checked(error.value)
        self._pcm = self._buffer()
        self._pcm_address = self._pcm.ctypes.data
        self._decode_float = _coding_function(
            opus, "opus_decode_float", ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int, ctypes.c_int
        )

    def decode(self, packet: bytes) -> Samples:
        """Return the audio of `packet`; PacketError when it is not valid Opus, and then the state is as before."""
        if not packet:  # libopus would take it for a loss, and conceal as much as the buffer holds
            raise PacketError("an Opus packet has at least one byte")
        count = self._decode(packet, len(packet), self._pcm.size // self._channels)
        if count < 0:
            raise PacketError(self._opus.opus_strerror(count).decode())
        return self._pcm[: count * self._channels].copy()

    def conceal(self, count_samples: int) -> Samples:
        """Return a guess at `count_samples` (per channel) that were lost, in whole spans of 2.5 ms up to 120 ms.

        When the loss goes on, the guess fades to the background that was heard, not always to silence, and the low
        delay codec's grows louder once on the way. Raises LocalProtocolError for another number.
        """
        if count_samples > PACKET_LIMIT_SPANS * self._span_samples:
            raise LocalProtocolError(f"{count_samples} samples can't be concealed at once")
        count = self._checked(self._decode(None, 0, count_samples))
        return self._pcm[: count * self._channels].copy()

    def _decode(self, data: bytes | None, size_bytes: int, limit_samples: int) -> int:
        return self._decode_float(self._usable_state(), data, size_bytes, self._pcm_address, limit_samples, 0)
