"""plexbridge's own stages, with the objects and the settings that a session uses, each on one round of frames."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.material import Material
from benchmarks.stage import Pipeline, Stage, Way, cpu_seconds
from benchmarks.wire import measure_receive, measure_send
from plexbridge.audio.ogg import OggOpusReader, OggOpusWriter
from plexbridge.audio.opus import PEOPLE_DOWNLINK, Decoder, Encoder
from plexbridge.audio.pcm import FRAME_SECONDS, MODEL_FRAME_SECONDS, MODEL_RATE_HZ, PEOPLE_RATE_HZ, Samples
from plexbridge.audio.playout import Playout
from plexbridge.config import AudioConfig
from plexbridge.people.wav import open_wav_people
from plexbridge.service import session_settings
from plexbridge.session.people import People

FRAMES_PER_MESSAGE = round(MODEL_FRAME_SECONDS / FRAME_SECONDS)


def own_stages(material: Material, folder: Path, codecs: ExitStack) -> Iterator[Stage]:
    """Yield the stages of both ways; each works on what the one before it makes of the material.

    Files are written to `folder`, and `codecs` closes what has to be closed.
    """

    def with_people(work: Callable[[People], object]) -> float:
        answer = folder / "answer.wav"
        with open_wav_people(material.speech_path, answer, None, tail_seconds=0) as people:
            return cpu_seconds(lambda: work(people))

    yield from _up(material, with_people, codecs)
    yield from _down(material, with_people, codecs)


_WithPeople = Callable[[Callable[[People], object]], float]


def _codec(way: Way, name: str, work: Callable[[], object]) -> Stage:
    return Stage(Pipeline.PLEXBRIDGE, way, name, is_codec=True, measure=partial(cpu_seconds, work))


def _other(way: Way, name: str, measure: Callable[[], float]) -> Stage:
    return Stage(Pipeline.PLEXBRIDGE, way, name, is_codec=False, measure=measure)


def _up(material: Material, with_people: _WithPeople, codecs: ExitStack) -> Iterator[Stage]:
    settings = session_settings(AudioConfig())
    decoder = codecs.enter_context(Decoder(rate_hz=MODEL_RATE_HZ))
    encoder = codecs.enter_context(Encoder(rate_hz=MODEL_RATE_HZ, settings=settings.encoder))
    writer = OggOpusWriter(serial=1, input_rate_hz=MODEL_RATE_HZ, pre_skip_samples=0)
    packets = material.discord_packets
    frames = [decoder.decode(packet) for packet in packets]
    encoded = [encoder.encode(frame) for frame in frames]
    pages = [writer.page(packet) for packet in encoded]

    def listen(people: People) -> None:
        for _ in packets:
            if people.listen(0.0) is None:
                raise AssertionError("the file is as long as a round")

    yield _other(Way.UP, "listen (WAV, soxr to 24 kHz)", partial(with_people, listen))
    yield _codec(Way.UP, "decode (Discord's packet)", lambda: [decoder.decode(packet) for packet in packets])
    yield _codec(Way.UP, "encode", lambda: [encoder.encode(frame) for frame in frames])
    yield _codec(Way.UP, "Ogg write", lambda: [writer.page(packet) for packet in encoded])
    yield _other(Way.UP, "send (WebSocket)", partial(measure_send, pages))


def _down(material: Material, with_people: _WithPeople, codecs: ExitStack) -> Iterator[Stage]:
    settings = session_settings(AudioConfig())
    decoder = codecs.enter_context(Decoder(rate_hz=PEOPLE_RATE_HZ))
    encoder = codecs.enter_context(Encoder(rate_hz=PEOPLE_RATE_HZ, settings=PEOPLE_DOWNLINK))
    pages = material.server_pages

    def read() -> list[bytes]:
        reader = OggOpusReader()  # a new one for every round, to which the pages are new
        return [packet.data for page in pages for packet in reader.feed(page)]

    packets = read()

    def new_playout() -> Playout:
        minimum_seconds, maximum_seconds = settings.playout_minimum_seconds, settings.playout_maximum_seconds
        return Playout(decoder, minimum_seconds=minimum_seconds, maximum_seconds=maximum_seconds)

    def smooth() -> float:
        """The playout buffer decodes what it is given, which is another stage's work."""
        playout = new_playout()
        decoding_seconds = cpu_seconds(lambda: [decoder.decode(packet) for packet in packets])
        return cpu_seconds(lambda: _smooth(playout, packets)) - decoding_seconds

    frames = _smooth(new_playout(), packets)

    def play(people: People) -> None:
        for tick, frame in enumerate(frames):
            people.play(frame, tick)

    yield _other(Way.DOWN, "receive (WebSocket)", partial(measure_receive, pages))
    yield _codec(Way.DOWN, "Ogg read", read)
    yield _codec(Way.DOWN, "decode", lambda: [decoder.decode(packet) for packet in packets])
    yield Stage(Pipeline.PLEXBRIDGE, Way.DOWN, "playout buffer", is_codec=True, measure=smooth)
    yield _codec(Way.DOWN, "encode (for Discord)", lambda: [encoder.encode(frame) for frame in frames])
    yield _other(Way.DOWN, "sink (WAV)", partial(with_people, play))


def _smooth(playout: Playout, packets: list[bytes]) -> list[Samples]:
    frames = []
    for number, packet in enumerate(packets):
        playout.push(packet, arrived_seconds=number * MODEL_FRAME_SECONDS)
        frames += [playout.pop().samples for _ in range(FRAMES_PER_MESSAGE)]
    return frames
