"""Noticing that the bot stays unable to speak though it is connected, which nobody else would notice or mend.

A pure core. While a call's keys are being exchanged nothing can be sent; that takes a second at most. An exchange that
went wrong leaves the bot without keys for good, and discord.py says nothing of it. A new connection is the cure.
"""

MUTE_SECONDS = 5.0
"""An exchange of keys that takes longer has failed."""
RENEWAL_LIMIT = 5
"""So many connections are made anew until one can speak; then it is left at that, since the fault lies elsewhere."""

MUTE_SENTENCE = "I cannot speak: the encryption of this call does not come to be. I am trying to mend that."


class Muteness:
    """Shown again and again whether the bot can speak; times are seconds on any one monotonic scale."""

    def __init__(self) -> None:
        self._since_seconds: float | None = None
        self.renewals = 0
        """How often in a row a new connection was asked for."""

    def observe(self, *, is_connected: bool, can_send: bool, now_seconds: float) -> bool:
        """Return whether the connection should be made anew."""
        if can_send:
            self.renewals = 0
        if can_send or not is_connected:
            self._since_seconds = None
            return False
        if self._since_seconds is None:
            self._since_seconds = now_seconds
        if now_seconds - self._since_seconds < MUTE_SECONDS or self.renewals >= RENEWAL_LIMIT:
            return False
        self._since_seconds = None
        self.renewals += 1
        return True
