"""What can go wrong on the way from one sender to one receiver, and the plan for each packet.

A `Link` is asked for every packet that the server forwards and answers with the delays of its copies: none for a lost
packet, one for a normal one. Randomness comes from a seed, so that a run can be repeated. A `FaultTable` knows which
faults a link has, and when they end because the receiver has done something about them.
"""

import random
from dataclasses import dataclass, field
from typing import Literal

REORDER_SECONDS = 0.030
"""How late a reordered packet is: behind its successor, which comes 20 ms later."""
DUPLICATE_SECONDS = 0.005


Recovery = Literal["rekeyed", "rejoined"]
"""A receiver has sent a new key package or said that a commit is invalid; it has a new voice session."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Chances are 0..1 for each packet; the defaults are a perfect network."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    jitter_seconds: float = 0.0
    """Each packet is late by a random time up to this."""
    delay_seconds: float = 0.0
    lose_every: int = 0
    """Lose each n-th packet, without chance; 0 loses none."""
    burst_frames: int = 0
    """Hold this many packets back and deliver them at once; 0 holds none."""
    corrupt: float = 0.0
    """One bit of the ciphertext is flipped."""
    wrong_key: float = 0.0
    """Encrypted for the receiver with a key that it does not have."""
    dave_garbage: float = 0.0
    """The end-to-end ciphertext is damaged inside an intact transport encryption: the receiver finds it only in DAVE.
    Frames that DAVE has not encrypted stay as they are."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Delivery:
    """One copy of a packet: when to send it, and what is wrong with it."""

    delay_seconds: float
    is_corrupt: bool = False
    has_wrong_key: bool = False
    is_dave_garbage: bool = False


class Link:
    """The network between one sender and one receiver."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._random = random.Random(faults.seed)
        self._count = 0

    def plan(self) -> list[Delivery]:
        """Say how the next packet is delivered."""
        faults, chance = self.faults, self._random.random
        self._count += 1
        if faults.lose_every and self._count % faults.lose_every == 0:
            return []
        if faults.loss and chance() < faults.loss:
            return []
        delay_seconds = faults.delay_seconds + faults.jitter_seconds * chance()
        if faults.reorder and chance() < faults.reorder:
            delay_seconds += REORDER_SECONDS
        first = Delivery(
            delay_seconds,
            is_corrupt=bool(faults.corrupt) and chance() < faults.corrupt,
            has_wrong_key=bool(faults.wrong_key) and chance() < faults.wrong_key,
            is_dave_garbage=bool(faults.dave_garbage) and chance() < faults.dave_garbage,
        )
        if faults.duplicate and chance() < faults.duplicate:
            return [first, Delivery(delay_seconds + DUPLICATE_SECONDS)]
        return [first]


@dataclass(slots=True)
class _Setting:
    faults: Faults
    until: Recovery | None
    recovered: set[int] = field(default_factory=set)
    """The receivers that it has ended for."""


class FaultTable:
    """The faults between members, by sender and receiver; None stands for everybody."""

    def __init__(self) -> None:
        self._settings: dict[tuple[int | None, int | None], _Setting] = {}
        self._links: dict[tuple[int, int, bool], Link] = {}

    def set(
        self, sender_id: int | None, receiver_id: int | None, faults: Faults, until: Recovery | None = None
    ) -> None:
        """Replace the faults of these links; counting starts anew."""
        self._settings[sender_id, receiver_id] = _Setting(faults, until)
        self._links.clear()

    def recover(self, receiver_id: int, how: Recovery) -> bool:
        """End what lasts until the receiver does this, for this receiver; return whether there was something."""
        ended = [
            setting
            for (_, receiver), setting in self._settings.items()
            if setting.until == how and receiver in (None, receiver_id) and receiver_id not in setting.recovered
        ]
        for setting in ended:
            setting.recovered.add(receiver_id)
        if ended:
            self._links = {key: link for key, link in self._links.items() if key[1] != receiver_id}
        return bool(ended)

    def link(self, sender_id: int, receiver_id: int, *, is_audio: bool = True) -> Link:
        """Return the link, with the most particular faults that were set; video is counted by itself."""
        link = self._links.get((sender_id, receiver_id, is_audio))
        if link is None:
            keys = ((sender_id, receiver_id), (sender_id, None), (None, receiver_id), (None, None))
            settings = (self._settings[key] for key in keys if key in self._settings)
            faults = next((s.faults for s in settings if receiver_id not in s.recovered), Faults())
            link = self._links[sender_id, receiver_id, is_audio] = Link(faults)
        return link
