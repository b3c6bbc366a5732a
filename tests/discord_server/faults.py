"""What can go wrong on the way from one sender to one receiver, and the plan for each packet.

A `Link` is asked for every packet that the server forwards and answers with the delays of its copies: none for a lost
packet, one for a normal one. Randomness comes from a seed, so that a run can be repeated.
"""

import random
from dataclasses import dataclass

REORDER_SECONDS = 0.030
"""How late a reordered packet is: behind its successor, which comes 20 ms later."""
DUPLICATE_SECONDS = 0.005


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
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Delivery:
    """One copy of a packet: when to send it, and what is wrong with it."""

    delay_seconds: float
    is_corrupt: bool = False
    has_wrong_key: bool = False


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
        )
        if faults.duplicate and chance() < faults.duplicate:
            return [first, Delivery(delay_seconds + DUPLICATE_SECONDS)]
        return [first]
