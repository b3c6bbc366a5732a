"""One file of a recording: frames with their places go in, the bytes of an Ogg Opus file come out, page by page.

All files of a recording have one timeline: it begins with the recording, sample 0 of every file, and is counted in
frames of 20 ms. Whatever lies between two frames is silence. The pre-skip in the header is the encoder's own delay, so
what is decoded lies where it was put, to the sample; and each page carries its position, so a file that breaks off
anywhere plays up to there.

Silence is not encoded, but for its first frame, which lets the last sound fade and brings the encoder to where silence
brings the decoder: packets of 120 ms say it in 14 bytes, which is 130 bytes a second. It is written when somebody
speaks again, and otherwise every half a minute.
"""

from dataclasses import dataclass

from plexbridge.audio.ogg import PAGE_LIMIT_SEGMENTS, OggOpusWriter, segments
from plexbridge.audio.opus import Application, Encoder, EncoderSettings
from plexbridge.audio.pcm import FRAMES_PER_SECOND, PEOPLE_FRAME_SAMPLES, PEOPLE_RATE_HZ, Samples, silence

RECORDING = EncoderSettings(Application.RESTRICTED_LOWDELAY, complexity=0, bitrate_bps=48_000)
"""For files that are kept: as dear as nothing (25 us a frame), 22 MB an hour of speech, and its packets can follow
silence that it knows nothing of, which those of the speech codec can't."""

PAGE_PACKETS = 50
"""A page is a second of sound at most."""
SILENCE_FRAMES = 30 * FRAMES_PER_SECOND
"""So much silence is written although nobody speaks again."""
SAME_FRAMES = 0.75
"""What is off by less belongs behind the frame before it: times are rounded differently on another grid."""

_SILENT_PACKET_FRAMES = 6  # 120 ms, the longest packet
_PACKET_LIMIT_SEGMENTS = 6  # of an encoder's largest frame, 1275 bytes


def silent_packet(frames: int) -> bytes:
    """Return the Opus packet that is silence for up to six frames of 20 ms (RFC 6716 section 3.2.5, code 3)."""
    return bytes((0xFB, frames)) + b"\xff\xfe" * frames


@dataclass(frozen=True, slots=True)
class TrackStatistics:
    """What a track holds, in frames of 20 ms."""

    first_frame: int | None = None
    """The place of its first sound."""
    sound_frames: int = 0
    refused_frames: int = 0
    """Whose place was taken already."""


class Track:
    """A file in the making; it owns an encoder, which `close` frees. What the methods return is to be appended."""

    def __init__(self, *, rate_hz: int, serial: int) -> None:
        self._encoder = Encoder(rate_hz=rate_hz, settings=RECORDING)
        self._silence = silence(rate_hz // FRAMES_PER_SECOND)
        self._pre_skip_samples = self._encoder.lookahead_samples * PEOPLE_RATE_HZ // rate_hz
        # The rate is only what readers decode to; so it is the same in all files.
        self._writer = OggOpusWriter(
            serial=serial, input_rate_hz=PEOPLE_RATE_HZ, pre_skip_samples=self._pre_skip_samples
        )
        self._packets: list[bytes] = []
        self._segments = 0
        self._pages: list[bytes] = []
        self._next_frame = 0
        self._is_faded = False
        """Whether the encoder's last frame was silence."""
        self._first_frame: int | None = None
        self._sound_frames = self._refused_frames = 0

    @property
    def end_frame(self) -> int:
        """Up to where something is put."""
        return self._next_frame

    def close(self) -> None:
        """Free the encoder; closing again does nothing."""
        self._encoder.close()

    def statistics(self) -> TrackStatistics:
        """Return the counters."""
        return TrackStatistics(self._first_frame, self._sound_frames, self._refused_frames)

    def headers(self) -> bytes:
        """Return what the file begins with."""
        return b"".join(self._writer.headers())

    def put(self, place_frames: float, samples: Samples) -> bytes:
        """Take 20 ms that begin `place_frames` after the beginning; where sound lies already, it stays."""
        is_next = abs(place_frames - self._next_frame) < SAME_FRAMES
        frame = self._next_frame if is_next else round(place_frames)
        if frame < self._next_frame:
            self._refused_frames += 1
            return b""
        self._fill(frame)
        self._push(self._encoder.encode(samples), 1)
        self._is_faded = False
        self._sound_frames += 1
        if self._first_frame is None:
            self._first_frame = frame
        return self._take_pages()

    def advance(self, to_frame: int) -> bytes:
        """Let nothing wait any longer; there is nothing more to come before `to_frame`."""
        if to_frame - self._next_frame >= SILENCE_FRAMES:
            self._fill(to_frame)
        self._end_page()
        return self._take_pages()

    def finish(self, end_frame: int) -> bytes:
        """End the file at `end_frame`, or where it ends already; nothing can follow."""
        self._fill(end_frame)
        end_samples = self._next_frame * PEOPLE_FRAME_SAMPLES
        self._packets.append(self._encoder.encode(self._silence))  # holds the end of the frame before it
        self._pages.append(self._writer.page_of(self._packets, ends_at_samples=self._pre_skip_samples + end_samples))
        return self._take_pages()

    def _fill(self, to_frame: int) -> None:
        if to_frame > self._next_frame and not self._is_faded:
            self._push(self._encoder.encode(self._silence), 1)
            self._is_faded = True
        while to_frame > self._next_frame:
            frames = min(_SILENT_PACKET_FRAMES, to_frame - self._next_frame)
            self._push(silent_packet(frames), frames)

    def _push(self, packet: bytes, frames: int) -> None:
        self._packets.append(packet)
        self._segments += segments(packet)
        self._next_frame += frames
        # With room for one packet more, the last.
        if len(self._packets) >= PAGE_PACKETS or self._segments > PAGE_LIMIT_SEGMENTS - 2 * _PACKET_LIMIT_SEGMENTS:
            self._end_page()

    def _end_page(self) -> None:
        if self._packets:
            self._pages.append(self._writer.page_of(self._packets))
            self._packets, self._segments = [], 0

    def _take_pages(self) -> bytes:
        pages, self._pages = self._pages, []
        return b"".join(pages)
