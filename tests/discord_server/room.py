"""One voice channel on one voice server: who is connected, what they are told of each other, and its DAVE group.

Media goes through `media.py`; the WebSocket through `voice_gateway.py`. The room is told of joins, messages and ends.
"""

import asyncio
import math
import random

from tests.discord_server.dave import DaveGroup, DaveRefusal, ToMember
from tests.discord_server.guild import Json
from tests.discord_server.options import Options
from tests.discord_server.record import Record
from tests.discord_server.voice_session import Grant, VoiceSession

SPEAKING, CLIENTS_CONNECT, VIDEO, CLIENT_DISCONNECT, CLIENT_FLAGS, CLIENT_PLATFORM = 5, 11, 12, 13, 18, 20
SESSION_DESCRIPTION = 4


class Room:
    """The members of a voice channel; methods are called on the server's event loop only."""

    def __init__(self, channel_id: int, options: Options, record: Record) -> None:
        self.channel_id = channel_id
        self._options = options
        self._record = record
        self.wants_dave = options.dave != "off"
        self.sessions: dict[int, VoiceSession] = {}
        self.dave = DaveGroup(
            channel_id,
            version=int(self.wants_dave),
            zero_initial_transition=options.zero_initial_transition,
        )
        self.speaking_delay_seconds: float | None = 0.0
        """How late op 5 is passed on, so that audio overtakes it; None never passes it on."""
        self.encrypted_seconds = -math.inf
        """Since when, on the loop's clock, the call is encrypted, if it is."""
        self._watched: set[int] = set()

    def admit(self, grant: Grant, max_dave_version: int) -> VoiceSession:
        """Make a session for op 0; an older one of the same user ends."""
        self.remove(grant.user_id)
        session = VoiceSession(grant, random.randrange(1, 1 << 30) * 4, max_dave_version)
        self.sessions[grant.user_id] = session
        return session

    def describe(self, session: VoiceSession) -> None:
        """The client has chosen its mode: tell it of the others and the key, and them of it."""
        others = [s for s in self.sessions.values() if s is not session and s.is_described]
        if others:
            session.post(CLIENTS_CONNECT, {"user_ids": [str(other.user_id) for other in others]})
            for other in others:
                session.post(CLIENT_FLAGS, {"user_id": str(other.user_id), "flags": 2})
                session.post(CLIENT_PLATFORM, {"user_id": str(other.user_id), "platform": 0})
        if session.max_dave_version:
            self._deliver(self.dave.join(session.user_id))
        else:
            self._choose_version(joining=session)
        description = {
            "mode": session.mode,
            "secret_key": list(session.key),
            "dave_protocol_version": self.dave.version if session.max_dave_version else 0,
            "audio_codec": "opus",
            "media_session_id": f"{session.ssrc:032x}",
        }
        session.post(SESSION_DESCRIPTION, description)
        session.is_described = True
        for other in others:
            other.post(CLIENTS_CONNECT, {"user_ids": [str(session.user_id)]})
            if other.video is not None:
                session.post(VIDEO, other.video)
        self._record.add("voice", "joined", user_id=session.user_id, channel_id=self.channel_id, mode=session.mode)

    def remove(self, user_id: int) -> None:
        """End a user's session; nothing if there is none."""
        session = self.sessions.pop(user_id, None)
        if session is None or not session.is_described:
            return
        session.is_described = False
        for other in self.sessions.values():
            if other.is_described:
                other.post(CLIENT_DISCONNECT, {"user_id": str(user_id)})
        self._deliver(self.dave.leave(user_id))
        self._choose_version()
        self._record.add("voice", "left", user_id=user_id, channel_id=self.channel_id)

    def relay_speaking(self, session: VoiceSession, data: Json) -> None:
        """Op 5: pass it on to the others."""
        session.has_sent_speaking = True
        now_seconds = asyncio.get_running_loop().time()
        if data.get("speaking"):
            session.announced_seconds = now_seconds
        elif session.speaking:
            session.hushed_seconds = now_seconds
        session.speaking = int(data.get("speaking", 0))
        if self.speaking_delay_seconds is None:
            return
        payload = {"user_id": str(session.user_id), "ssrc": session.ssrc, "speaking": session.speaking}
        if not self.speaking_delay_seconds:
            self._tell_others(session, SPEAKING, payload)
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(self.speaking_delay_seconds, self._tell_others, session, SPEAKING, payload)

    def relay_video(self, session: VoiceSession, data: Json) -> None:
        """Op 12: pass it on to the others, and to whoever comes while the camera is on."""
        payload = data | {"user_id": str(session.user_id)}
        session.video = payload if data.get("video_ssrc") else None
        self._tell_others(session, VIDEO, payload)

    def _tell_others(self, session: VoiceSession, op: int, payload: Json) -> None:
        if self.sessions.get(session.user_id) is not session:
            return
        for other in self.sessions.values():
            if other is not session and other.is_described:
                other.post(op, payload)

    def set_dave(self, *, is_on: bool) -> None:
        """Turn end-to-end encryption of the channel on or off while people talk."""
        self.wants_dave = is_on
        self._choose_version()

    def expel_from_dave(self, user_id: int) -> None:
        """Remove a user from the group and tell only the others; raises `ValueError` when it is not in it."""
        if user_id not in self.dave.members:
            raise ValueError("the user is not in the DAVE group")
        self._record.add("dave", "expelled", user_id=user_id, channel_id=self.channel_id)
        self._deliver(self.dave.invalid(user_id))

    def _choose_version(self, joining: VoiceSession | None = None) -> None:
        there = [s for s in self.sessions.values() if s.is_described or s is joining]
        version = int(self.wants_dave and all(session.max_dave_version for session in there))
        if version == self.dave.version:
            return
        self._record.add("dave", "upgrade" if version else "downgrade", channel_id=self.channel_id)
        if version:
            self.encrypted_seconds = asyncio.get_running_loop().time()
        self._deliver(self.dave.upgrade() if version else self.dave.downgrade())

    def dave_message(self, session: VoiceSession, op: int, data: bytes | Json) -> None:
        """Ops 23, 26, 28 and 31 of a client."""
        user_id = session.user_id
        try:
            if op == 26 and isinstance(data, bytes):
                messages = self.dave.key_package(user_id, data)
            elif op == 28 and isinstance(data, bytes):
                epoch = self.dave.epoch
                messages = self.dave.commit(user_id, data)
                outcome = "commit accepted" if messages else "commit lost"
                self._record.add("dave", outcome, user_id=user_id, epoch=epoch, members=list(self.dave.members))
            elif op == 23 and isinstance(data, dict):
                number = int(data["transition_id"])
                self._record.add("dave", "transition ready", user_id=user_id, transition_id=number)
                messages = self.dave.transition_ready(user_id, number)
            elif op == 31 and isinstance(data, dict):
                self._record.add("dave", "invalid commit", user_id=user_id, **data)
                messages = self.dave.invalid(user_id)
            else:
                raise DaveRefusal(f"op {op} has the wrong form")
        except DaveRefusal as exc:
            self._record.violation("DAVE refused", user_id=user_id, reason=str(exc))
            return
        self._deliver(messages)

    def _deliver(self, messages: list[ToMember]) -> None:
        for message in messages:
            session = self.sessions.get(message.user_id)
            if session is not None:
                self._record.add("dave", f"op {message.op}", to_user_id=message.user_id)
                session.post(message.op, message.payload)
        self._watch_transitions()

    def _watch_transitions(self) -> None:
        loop = asyncio.get_running_loop()
        for number in self.dave.open_transitions:
            if number not in self._watched:
                self._watched.add(number)
                loop.call_later(self._options.transition_timeout_seconds, self._transition_expired, number)

    def _transition_expired(self, number: int) -> None:
        self._watched.discard(number)
        late = self.dave.execute(number)
        if late:
            self._record.add("dave", "transition timeout", channel_id=self.channel_id, transition_id=number)
            self._deliver(late)

    def to_json(self) -> Json:
        """Return the room's state for the control interface."""
        return {
            "channel_id": self.channel_id,
            "user_ids": [session.user_id for session in self.sessions.values() if session.is_described],
            "dave_version": self.dave.version,
            "dave_epoch": self.dave.epoch,
            "dave_members": list(self.dave.members),
            "dave_is_settled": self.dave.is_settled,
        }
