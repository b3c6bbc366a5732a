"""The loopback mode: what a page sends comes back to it, packet by packet, as it is.

It shows that microphone, network and loudspeaker work, and how long the way there and back takes. Nothing is held in
between, and a page that does not play what it gets is late here as with a model. Packets are decoded for the meters
only: a page sees that its voice has arrived as sound.
"""

import trio

from plexbridge.audio.opus import Decoder
from plexbridge.audio.pcm import MODEL_RATE_HZ
from plexbridge.audio.pcm16 import Pcm16Decoder
from plexbridge.errors import PacketError
from plexbridge.people.web.downlink import Downlink
from plexbridge.people.web.levels import Levels
from plexbridge.people.web.messages import Audio, Codec, Traffic


class Mirror:
    """What answers a page in loopback mode; `close` frees the decoder."""

    def __init__(self, downlink: Downlink, levels: Levels, codec: Codec) -> None:
        self._downlink = downlink
        self._levels = levels
        self._decoder = Decoder(rate_hz=MODEL_RATE_HZ) if codec is Codec.OPUS else Pcm16Decoder()
        self._decoded = 0
        self._corrupt = 0

    def close(self) -> None:
        """Free the decoder."""
        self._decoder.close()

    def hear(self, audio: Audio) -> None:
        """Send a packet back, unless it is none or the page is late."""
        try:
            samples = self._decoder.decode(audio.payload)
        except PacketError:  # its framing is right, and only the decoder sees that the rest is not
            self._corrupt += 1
            return
        self._decoded += 1
        self._levels.heard(samples)
        if not self._downlink.withholds():
            self._downlink.play(audio)
            self._levels.played(samples)
        self._downlink.tell(self._levels.report(trio.current_time()))

    def traffic(self) -> Traffic:
        """Return what was decoded, and what could not be."""
        return Traffic(decoded=self._decoded, dropped=self._corrupt)
