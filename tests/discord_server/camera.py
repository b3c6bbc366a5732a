"""A simulated person's camera: video packets beside the voice, encrypted by DAVE as Discord's clients do it.

One frame is one packet, and every tenth is sent once more with the payload type and SSRC for that (RFC 4588). What is
in a frame is no picture; only its first bytes are those of its codec, because DAVE leaves some of them in clear.
"""

import asyncio
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import davey

from tests.discord_server.person_voice import PersonVoice
from tests.discord_server.transport import Rtp

FRAMES_PER_SECOND = 30
CLOCK_TICKS_PER_FRAME = 90_000 // FRAMES_PER_SECOND
FRAME_BYTES = 700
REPEAT_EVERY = 10

VideoCodec = Literal["h264", "vp8", "vp9"]


@dataclass(frozen=True, slots=True)
class _Format:
    payload_type: int
    """The repetitions' type is the next one."""
    codec: davey.Codec
    start: bytes
    """What a frame begins with."""
    descriptor: bytes
    """What stands before the frame in its packet, never encrypted."""


_FORMATS: dict[VideoCodec, _Format] = {
    "h264": _Format(101, davey.Codec.h264, b"\0\0\0\x01\x65", b""),
    "vp8": _Format(103, davey.Codec.vp8, b"\x10\x02\x00", b"\x10"),
    "vp9": _Format(105, davey.Codec.vp9, b"\x82", b"\x0c"),
}


async def film(voice_of: Callable[[], PersonVoice | None], is_on: Callable[[], bool], codec: VideoCodec) -> None:
    """Send video over whatever voice connection there is, until the camera is off."""
    loop = asyncio.get_running_loop()
    due, count = loop.time(), 0
    announced: PersonVoice | None = None
    while is_on():
        await asyncio.sleep(due - loop.time())
        due += 1 / FRAMES_PER_SECOND
        voice = voice_of()
        if voice is None or not voice.is_secure or voice.ended.is_set():
            continue
        if voice is not announced:
            announced = voice
            await voice.show_video(is_on=True)
        count += 1
        _send_frame(voice, _FORMATS[codec], count)
    if announced is not None and not announced.ended.is_set():
        await announced.show_video(is_on=False)


def _send_frame(voice: PersonVoice, form: _Format, count: int) -> None:
    # No zeros: they could look like the start of the next part of an H.264 frame.
    frame = form.start + bytes(random.choices(range(1, 256), k=FRAME_BYTES))
    if voice.dave_version and voice.session is not None:
        frame = voice.session.encrypt(davey.MediaType.video, form.codec, frame)
    sequence, timestamp = count % (1 << 16), count * CLOCK_TICKS_PER_FRAME % (1 << 32)
    payload = form.descriptor + frame
    voice.send(Rtp(sequence, timestamp, voice.ssrc + 1, payload, payload_type=form.payload_type))
    if count % REPEAT_EVERY == 0:
        again = struct.pack(">H", sequence) + payload
        number = count // REPEAT_EVERY
        voice.send(Rtp(number, timestamp, voice.ssrc + 2, again, payload_type=form.payload_type + 1))
