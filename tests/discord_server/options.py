"""What can be chosen when the server starts: intervals, limits and the dialect it speaks."""

from dataclasses import dataclass
from typing import Literal

AES256_GCM = "aead_aes256_gcm_rtpsize"
XCHACHA20 = "aead_xchacha20_poly1305_rtpsize"

MEMBERS_INTENT, PRESENCES_INTENT, MESSAGE_CONTENT_INTENT = 1 << 1, 1 << 8, 1 << 15
PRIVILEGED_INTENTS = MEMBERS_INTENT | PRESENCES_INTENT | MESSAGE_CONTENT_INTENT
"""Granted per application on Discord's developer page."""
_APPLICATION_FLAGS = {PRESENCES_INTENT: 1 << 13, MEMBERS_INTENT: 1 << 15, MESSAGE_CONTENT_INTENT: 1 << 19}
"""How a granted intent shows in the flags of an application in fewer than a hundred guilds ("limited")."""


def application_flags(allowed_intents: int) -> int:
    """Return the flags of an application that was granted these privileged intents."""
    return sum(flag for intent, flag in _APPLICATION_FLAGS.items() if allowed_intents & intent)


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of one server; the defaults are Discord's own values where these are known."""

    host: str = "127.0.0.1"
    port: int = 0
    """Of REST, gateway and control interface; 0 takes a free one."""
    token: str = "loopback-token"
    heartbeat_seconds: float = 41.25
    voice_heartbeat_seconds: float = 13.75
    heartbeat_grace_seconds: float = 5.0
    """How late a heartbeat may come before the connection is closed, beside one interval."""
    resume_seconds: float = 15.0
    """How long a dropped voice connection may still be resumed; then the user leaves the channel."""
    dave: Literal["on", "off", "required"] = "on"
    """`required` refuses clients without DAVE (close code 4017), as Discord does since March 2026."""
    zero_initial_transition: bool = False
    """Whether the first commit of a group is announced as transition 0, which nobody confirms."""
    transition_timeout_seconds: float = 2.0
    modes: tuple[str, ...] = (AES256_GCM, XCHACHA20)
    """Transport encryption offered in op 2, in this order: a client that takes the first it knows follows it."""
    allowed_privileged_intents: int = PRIVILEGED_INTENTS
    interaction_seconds: float = 3.0
    """How long an interaction may stay unanswered (Discord: 10062 afterwards)."""
    discovery_seconds: float = 0.01
    """How late IP discovery is answered, as by a server that is not on this machine. discord.py listens for the answer
    only after sending, so that a reader that is already running can take it away when it comes at once."""
    moved_close_seconds: float = 0.05
    """How long after VOICE_SERVER_UPDATE the old voice connection is closed with 4014."""
