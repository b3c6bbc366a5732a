"""The messages of Kyutai's speech-to-text server (moshi-server, `/api/asr-streaming`), as its source has them.

Both sides send msgpack maps whose `type` says what they are. To the server: `Audio` with 24 kHz samples, of which it
works on 1920 at a time, and `Marker`, which comes back when everything before it has been transcribed; as the model is
some steps behind, that takes further audio. From the server: `Ready` first, `Word` and `EndWord` with times, a `Step`
for each 80 ms, `Marker`, and `Error` with a text, after which it closes.
"""

from dataclasses import dataclass

import msgpack

from plexbridge.audio.pcm import MODEL_FRAME_SAMPLES, Samples
from plexbridge.errors import RemoteProtocolError

STEP_SAMPLES = MODEL_FRAME_SAMPLES
NO_CHANNELS = "no free channels"
"""The text of the error when the server has as many connections as it takes."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The server takes audio."""


@dataclass(frozen=True, slots=True)
class WordBegins:
    """A word, and when it began."""

    text: str
    start_seconds: float


@dataclass(frozen=True, slots=True)
class WordEnds:
    """When the latest word ended."""

    end_seconds: float


@dataclass(frozen=True, slots=True)
class Returned:
    """A marker has come back."""

    marker: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The server can't go on."""

    text: str


Event = Ready | WordBegins | WordEnds | Returned | Failed | None
"""None is a message that says nothing of interest."""


def encode_audio(samples: Samples) -> bytes:
    """Return the message with these samples, at 24 kHz."""
    return bytes(msgpack.packb({"type": "Audio", "pcm": samples.tolist()}, use_single_float=True))


def encode_marker(marker: int) -> bytes:
    """Return the message that comes back when all before it is done."""
    return bytes(msgpack.packb({"type": "Marker", "id": marker}))


def decode(message: bytes) -> Event:
    """Return what a message of the server means; raises RemoteProtocolError."""
    try:
        content = msgpack.unpackb(message)
        match content["type"]:
            case "Ready":
                return Ready()
            case "Word":
                return WordBegins(str(content["text"]), float(content["start_time"]))
            case "EndWord":
                return WordEnds(float(content["stop_time"]))
            case "Marker":
                return Returned(int(content["id"]))
            case "Error":
                return Failed(str(content["message"]))
    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as exc:
        raise RemoteProtocolError(f"a message that can't be read: {type(exc).__name__}") from exc
    return None
