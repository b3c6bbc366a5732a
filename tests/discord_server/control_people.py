"""The part of the typed client that is about people in voice."""

import base64
from dataclasses import asdict
from pathlib import Path

from tests.discord_server.camera import VideoCodec
from tests.discord_server.control_client import ControlClient
from tests.discord_server.guild import Json
from tests.discord_server.hearing import Heard, Protection
from tests.discord_server.options import AES256_GCM
from tests.discord_server.person import Manner, Sent
from tests.discord_server.voice_session import Arrival


class PeopleControl(ControlClient):
    """Lets people join, leave, talk, and asks what they heard."""

    def join(
        self,
        person_id: int,
        channel_id: int,
        *,
        mode: str = AES256_GCM,
        dave_version: int = 1,
        self_mute: bool = False,
        self_deaf: bool = False,
    ) -> None:
        """Let a person join or move to a voice channel; returns when its voice connection stands."""
        flags = {"self_mute": self_mute, "self_deaf": self_deaf, "is_update": False}
        self.call("join", person_id=person_id, channel_id=channel_id, mode=mode, dave_version=dave_version, **flags)

    def set_flags(self, person_id: int, channel_id: int, *, self_mute: bool = False, self_deaf: bool = False) -> None:
        """Let a person who is in `channel_id` mute or deafen itself, or end it."""
        flags = {"self_mute": self_mute, "self_deaf": self_deaf, "is_update": True}
        self.call("join", person_id=person_id, channel_id=channel_id, mode=AES256_GCM, dave_version=1, **flags)

    def leave(self, person_id: int, *, abort: bool = False) -> None:
        """Let a person leave; `abort` cuts its connection instead, and the server notices later."""
        self.call("leave", person_id=person_id, abort=abort)

    def speak_wav(self, person_id: int, path: Path, *, manner: Manner = Manner(), wait: bool = True) -> int:  # noqa: B008  # it is frozen
        """Let a person say a sound file in real time; return the number of frames."""
        return self._speak(person_id, {"wav": str(path)}, manner, wait=wait)

    def speak_tone(
        self,
        person_id: int,
        *,
        hz: float = 440.0,
        seconds: float = 1.0,
        manner: Manner = Manner(),  # noqa: B008  # it is frozen
        wait: bool = True,
    ) -> int:
        """Let a person whistle in real time; return the number of frames."""
        return self._speak(person_id, {"tone": {"hz": hz, "seconds": seconds}}, manner, wait=wait)

    def speak_packets(
        self,
        person_id: int,
        packets: list[bytes],
        *,
        manner: Manner = Manner(),  # noqa: B008  # it is frozen
        wait: bool = True,
    ) -> int:
        """Let a person send these Opus packets of 20 ms in real time; return their number."""
        encoded = [base64.b64encode(packet).decode() for packet in packets]
        return self._speak(person_id, {"packets": encoded}, manner, wait=wait)

    def _speak(self, person_id: int, source: Json, manner: Manner, *, wait: bool) -> int:
        arguments = {"person_id": person_id, "source": source, "manner": asdict(manner), "wait": wait}
        return int(self.call("speak", 700.0, **arguments)["frames"])

    def hush(self, person_id: int) -> None:
        """Let a person break off in mid-sentence; leaving does so as well."""
        self.call("hush", person_id=person_id)

    def announce_speaking(self, person_id: int, is_speaking: bool = True) -> None:
        """Let a person say on the voice gateway that it talks (op 5), or does not, and send nothing."""
        self.call("announce_speaking", person_id=person_id, is_speaking=is_speaking)

    def set_camera(self, person_id: int, is_on: bool, *, codec: VideoCodec = "h264") -> None:
        """Turn a person's camera on, whatever else it does, or off; it goes on until the person leaves voice."""
        self.call("camera", person_id=person_id, is_on=is_on, codec=codec)

    def wait_secure(self, person_id: int, seconds: float = 10.0) -> bool:
        """Wait until a person's DAVE session (if the call has DAVE) can encrypt; return whether it can."""
        return bool(self.call("wait_secure", person_id=person_id, seconds=seconds)["is_secure"])

    def person(self, person_id: int) -> Json:
        """Return is_connected, is_secure, dave_user_ids, privacy_code, close_code, counters, unsent_frames."""
        return self.call("person", person_id=person_id)

    def sent(self, person_id: int, *, after_seconds: float = 0.0) -> list[Sent]:
        """Return the packets that a person sent, silence included, before any encryption."""
        packets = self.call("sent", person_id=person_id, after_seconds=after_seconds)["packets"]
        return [Sent(**packet | {"opus": base64.b64decode(packet["opus"])}) for packet in packets]

    def heard(
        self, person_id: int, sender_id: int, *protections: Protection, after_seconds: float = 0.0
    ) -> list[Heard]:
        """Return what a person heard of a user, in order of arrival; with `protections`, only packets of that kind."""
        arguments = {"person_id": person_id, "sender_id": sender_id, "after_seconds": after_seconds}
        packets = self.call("heard", **arguments)["packets"]
        heard = [Heard(**packet | {"opus": base64.b64decode(packet["opus"])}) for packet in packets]
        return [packet for packet in heard if not protections or packet.protection in protections]

    def write_heard_wav(self, person_id: int, sender_id: int, path: Path) -> int:
        """Write what a person heard of a user as a 48 kHz WAV with its pauses; return the number of samples."""
        return int(self.call("heard_wav", person_id=person_id, sender_id=sender_id, path=str(path))["samples"])

    def forget_heard(self, person_id: int) -> None:
        """Start anew with what a person heard and sent."""
        self.call("forget_heard", person_id=person_id)

    def received(self, user_id: int) -> list[Arrival]:
        """Return the RTP packets that the server received from a user in its present voice session."""
        return [Arrival(**packet) for packet in self.call("received", user_id=user_id)["packets"]]
