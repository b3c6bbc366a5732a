"""The other path down that `benchmarks.load` measures: a model's packets of 80 ms cut to 20 ms and sent on as they are.

Cutting needs no decoding: an Opus packet holds whole frames, and each of them is a packet too, behind a byte that says
what kind it is (RFC 6716 section 3.2). plexbridge does not send them on: a listener's decoder whose past is another one
needs a while to find back, wherever frames were left out or came from plexbridge's own encoder. How long, says

    python -m benchmarks.load_passing
"""

from collections import deque
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.material import make_material
from plexbridge.audio.ogg import OggOpusReader
from plexbridge.audio.opus import PEOPLE_DOWNLINK, Decoder, Encoder
from plexbridge.audio.opus_packet import SILENCE_PACKET, duration_samples, frame_samples
from plexbridge.audio.pcm import PEOPLE_FRAME_SAMPLES, PEOPLE_RATE_HZ, Samples, level_dbfs


def split(packet: bytes) -> list[bytes]:
    """Return the frames of a well-formed packet without padding as packets of their own."""
    kind = bytes([packet[0] & 0xFC])
    count, sizes, start = _framing(packet)
    frames = []
    for size in sizes:
        frames.append(kind + packet[start : start + size])
        start += size
    if len(frames) != count or start != len(packet):
        raise AssertionError(f"{count} frames in {len(packet)} bytes were read as {sizes}")
    return frames


def _framing(packet: bytes) -> tuple[int, list[int], int]:
    """Return the number of frames, their sizes and where the first one starts."""
    code = packet[0] & 3
    if code == 0:
        return 1, [len(packet) - 1], 1
    if code == 3 and packet[1] & 0x40:
        raise AssertionError("the packet is padded")
    count, start = (packet[1] & 0x3F, 2) if code == 3 else (2, 1)
    if code == 1 or (code == 3 and not packet[1] & 0x80):
        return count, [(len(packet) - start) // count] * count, start
    sizes = []
    for _ in range(count - 1):
        size = packet[start]
        start += 1
        if size >= 252:
            size += 4 * packet[start]
            start += 1
        sizes.append(size)
    return count, [*sizes, len(packet) - start - sum(sizes)], start


def is_splittable(packet: bytes) -> bool:
    """Say whether a packet of 80 ms holds frames of 20 ms."""
    return frame_samples(packet) == PEOPLE_FRAME_SAMPLES and duration_samples(packet) == 4 * PEOPLE_FRAME_SAMPLES


class Passing(Encoder):
    """In the place of the encoder: the model's own packets, one after the other, whatever the samples are.

    What can't be cut is encoded.
    """

    def __init__(self, packets: Iterable[bytes]) -> None:
        super().__init__(rate_hz=PEOPLE_RATE_HZ, settings=PEOPLE_DOWNLINK)
        self._packets = cycle(packets)
        self._pieces: deque[bytes | None] = deque()

    def encode(self, samples: Samples) -> bytes:
        """Return the next packet of 20 ms."""
        if not self._pieces:
            packet = next(self._packets)
            self._pieces.extend(split(packet) if is_splittable(packet) else [None] * 4)
        return self._pieces.popleft() or super().encode(samples)


PAUSE_FRAMES = 30
FOLLOWED_FRAMES = 6
LOUD_DBFS = -30.0
EVERY_FRAMES = 4


def _decoded(packets: Iterable[bytes]) -> list[Samples]:
    with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
        return [decoder.decode(packet) for packet in packets]


def _encoded(frames: Iterable[Samples]) -> list[bytes]:
    with Encoder(rate_hz=PEOPLE_RATE_HZ, settings=PEOPLE_DOWNLINK) as encoder:
        return [encoder.encode(frame) for frame in frames]


def main() -> None:
    """Print how a listener hears the frames after a switch, beside how they sound to who has heard everything."""
    with TemporaryDirectory() as folder:
        pages = make_material(Path(folder)).server_pages
    reader = OggOpusReader()
    pieces = [piece for page in pages for packet in reader.feed(page) for piece in split(packet.data)]
    expected = _decoded(pieces)
    own = _encoded(expected)
    loud = [
        place for place in range(PAUSE_FRAMES, len(pieces) - FOLLOWED_FRAMES) if level_dbfs(expected[place]) > LOUD_DBFS
    ]
    print("| the frames before | frame | SNR, p50 / p10 | level, lowest to highest error |\n|---|---|---|---|")
    for name in ("a pause that was not sent", "one frame left out", "from plexbridge's encoder"):
        ratios_db: list[list[float]] = [[] for _ in range(FOLLOWED_FRAMES)]
        errors_db: list[list[float]] = [[] for _ in range(FOLLOWED_FRAMES)]
        for place in loud[::EVERY_FRAMES]:
            before = {
                "a pause that was not sent": pieces[: place - PAUSE_FRAMES] + [SILENCE_PACKET] * 5,
                "one frame left out": pieces[: place - 1],
                "from plexbridge's encoder": own[:place],
            }[name]
            heard = _decoded(before + pieces[place : place + FOLLOWED_FRAMES])[len(before) :]
            for number, (wanted, found) in enumerate(zip(expected[place:], heard, strict=False)):
                ratios_db[number].append(level_dbfs(wanted) - level_dbfs(wanted - found))
                errors_db[number].append(level_dbfs(found) - level_dbfs(wanted))
        for number, (ratios, errors) in enumerate(zip(ratios_db, errors_db, strict=True)):
            p50, p10 = np.percentile(ratios, (50, 10))
            print(f"| {name} | {number + 1} | {p50:.1f} / {p10:.1f} dB | {min(errors):+.1f} to {max(errors):+.1f} dB |")


if __name__ == "__main__":
    main()
