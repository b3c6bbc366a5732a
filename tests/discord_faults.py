"""What can go wrong while people talk, each as one act on the loopback Discord: for the tests and the benchmark."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.discord_server.control import Control, Faults

RUBBISH = b"\0rubbish"
"""No proposals (op 27): discord.py's task for the voice gateway dies of it."""
AWHILE_SECONDS = 0.5
"""Between the two halves of a fault."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Who is there: the talking person, and a guest who is not in voice, but for the faults that are about guests."""

    control: Control
    channel_id: int
    person_id: int
    guest_id: int

    @property
    def bot_id(self) -> int:
        """The bot's user id."""
        return self.control.ready.bot_id


Act = Callable[[Scene], object]


def _nothing(scene: Scene) -> None:
    """Most faults need nothing beside themselves."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong, and what has to be done before and afterwards."""

    title: str
    """In words, for people."""
    act: Act
    prepare: Act = _nothing
    clean_up: Act = _nothing


def closed(code: int) -> Act:
    """The bot's connection to the voice gateway is closed with `code`, 1006: cut."""
    return lambda scene: scene.control.close_voice(scene.bot_id, code)


def _move_server(scene: Scene) -> None:
    scene.control.move_voice_server(scene.channel_id)


def _move_server_twice(scene: Scene) -> None:
    _move_server(scene)
    time.sleep(AWHILE_SECONDS)  # part of the fault
    _move_server(scene)


def _turn_dave_off_and_on(scene: Scene) -> None:
    scene.control.set_dave(scene.channel_id, is_on=False)
    time.sleep(AWHILE_SECONDS)  # part of the fault
    scene.control.set_dave(scene.channel_id, is_on=True)


def _guest_joins(scene: Scene) -> None:
    scene.control.join(scene.guest_id, scene.channel_id)


def _guest_is_there(scene: Scene) -> None:
    _guest_joins(scene)
    assert scene.control.wait_secure(scene.guest_id)


def _guest_leaves(scene: Scene) -> None:
    scene.control.leave(scene.guest_id)
    assert scene.control.wait_secure(scene.person_id)


def _spoil(faults: Faults, until: str) -> Act:
    """Spoil what the bot gets of the person until it does something about it."""

    def act(scene: Scene) -> None:
        way = {"sender_id": scene.person_id, "receiver_id": scene.bot_id}
        if until == "rekeyed":
            scene.control.set_faults(faults, until="rekeyed", **way)
        else:
            scene.control.set_faults(faults, until="rejoined", **way)

    return act


def _unspoil(scene: Scene) -> None:
    scene.control.set_faults(Faults(), sender_id=scene.person_id, receiver_id=scene.bot_id)


def _forget_bot_keys(scene: Scene) -> None:
    scene.control.remove_from_dave(scene.bot_id)


FAULTS: Mapping[str, Fault] = {
    "4006": Fault("the voice gateway closes with 4006 (session no longer valid)", closed(4006)),
    "4009": Fault("the voice gateway closes with 4009 (session timed out)", closed(4009)),
    "4015": Fault("the voice gateway closes with 4015 (voice server crashed)", closed(4015)),
    "cut": Fault("the connection to the voice gateway is cut", closed(1006)),
    "op 27": Fault(
        "the voice gateway sends what can't be used (op 27)",
        lambda scene: scene.control.send_voice(scene.bot_id, 27, RUBBISH),
    ),
    "server": Fault("the call is moved to another voice server", _move_server),
    "servers": Fault("it is moved twice within half a second", _move_server_twice),
    "op 7": Fault("the gateway asks for a reconnect (op 7)", lambda scene: scene.control.reconnect_gateway()),
    "gateway cut": Fault("the connection to the gateway is cut", lambda scene: scene.control.close_gateway(1006)),
    "op 9 true": Fault(
        "the gateway's session is invalid, and can be resumed (op 9)",
        lambda scene: scene.control.invalidate_gateway(is_resumable=True),
    ),
    "op 9 false": Fault(
        "the gateway's session is invalid, and gone (op 9)",
        lambda scene: scene.control.invalidate_gateway(is_resumable=False),
    ),
    "dave": Fault("end-to-end encryption goes off and on again", _turn_dave_off_and_on),
    "joins": Fault("somebody else enters the channel", _guest_joins, clean_up=_guest_leaves),
    "leaves": Fault("somebody else leaves the channel", _guest_leaves, prepare=_guest_is_there),
    "camera": Fault(
        "the talking person turns a camera on",
        lambda scene: scene.control.set_camera(scene.person_id, True),
        clean_up=lambda scene: scene.control.set_camera(scene.person_id, False),
    ),
    "deaf: dave": Fault(
        "the person's end-to-end encryption can't be opened until keys are exchanged anew",
        _spoil(Faults(dave_garbage=1), "rekeyed"),
        clean_up=_unspoil,
    ),
    "deaf: transport": Fault(
        "the transport encryption can't be opened until the bot joins anew",
        _spoil(Faults(wrong_key=1), "rejoined"),
        clean_up=_unspoil,
    ),
}
"""What a conversation survives, by a short name."""


@dataclass(frozen=True, slots=True)
class End:
    """Something that ends a conversation by design."""

    title: str
    act: Act
    read: str | None
    """What people read of it; None: nothing, they did it themselves or are not there."""


THROWN_OUT = "I was taken out of the voice channel, so this conversation has ended."
DISMISSED = "Discord has taken me out of the voice channel, so this conversation has ended."


def _throw_out(scene: Scene) -> None:
    scene.control.disconnect_user(scene.bot_id)


def _throw_out_while_rejoining(scene: Scene) -> None:
    scene.control.stall_voice(scene.bot_id)
    closed(4006)(scene)
    scene.control.wait("voice", "stalled on purpose", after=-1, user_id=scene.bot_id)
    time.sleep(AWHILE_SECONDS)  # part of the fault
    _throw_out(scene)


ENDS: Mapping[str, End] = {
    "kick": End("a moderator takes the bot out of the channel", _throw_out, THROWN_OUT),
    "kick while rejoining": End(
        "a moderator takes it out while it is joining again", _throw_out_while_rejoining, THROWN_OUT
    ),
    "4014": End(
        "the voice gateway closes with 4014 (disconnected), and no new server is named", closed(4014), DISMISSED
    ),
    "4021": End("the voice gateway closes with 4021 (rate limited)", closed(4021), DISMISSED),
    "4022": End("the voice gateway closes with 4022 (the call is over)", closed(4022), DISMISSED),
    "deleted": End("the channel is deleted", lambda scene: scene.control.delete_channel(scene.channel_id), None),
    "left": End("the last person leaves", lambda scene: scene.control.leave(scene.person_id), None),
}
"""What ends a conversation, by a short name."""
