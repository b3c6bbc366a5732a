"""The server's part in DAVE for one voice channel: who is proposed, whose commit counts, when keys change.

This is a value machine: something happened (a key package, a commit, somebody left) goes in, messages to members come
out. The room delivers them and keeps the two-second clock of transitions.

One *group* exists at a time, or none. Its leaves are known here because a Remove names a leaf: the creator has leaf 0,
each Add takes the leftmost blank leaf in the order in which the commit names the Adds (RFC 9420 §12.1.1).

- No group: everybody who sent a key package is *pending*, has a group of its own at epoch 0 and gets Adds of the
  others. The first valid commit makes its sender's group the group.
- A group: joiners are proposed as Adds, leavers as Removes, to all members that are there. The first commit that names
  every open proposal wins; its Welcome goes to the joiners, the commit itself to the members.
- A proposal that lost its reason (a joiner left before the commit) makes the server revoke all and propose again,
  because committers leave out the Welcome after a revoke while Adds stay.
- Down to one member: that one starts over (op 24 with epoch 1) and is pending again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.discord_server.mls import (
    Commit,
    ExternalSender,
    MalformedMls,
    Proposal,
    key_package_user,
    parse_commit,
    vector,
)

PREPARE_TRANSITION, EXECUTE_TRANSITION, PREPARE_EPOCH = 21, 22, 24
EXTERNAL_SENDER, PROPOSALS, ANNOUNCE_COMMIT, WELCOME = 25, 27, 29, 30
APPEND, REVOKE = b"\x00", b"\x01"


@dataclass(frozen=True, slots=True)
class ToMember:
    """A message for one member: bytes for a binary op, a dict for a JSON op."""

    user_id: int
    op: int
    payload: bytes | dict[str, Any]


@dataclass(slots=True)
class _Open:
    """A proposal that no commit has named yet, and who was told of it."""

    kind: Literal["add", "remove"]
    user_id: int
    proposal: Proposal
    told: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Transition:
    waiting: set[int]
    members: frozenset[int]
    ends_encryption: bool = False


class DaveRefusal(Exception):
    """What a client sent breaks DAVE's rules; the text says how."""


class DaveGroup:
    """The state of one channel; every method returns the messages that follow from what happened."""

    def __init__(self, channel_id: int, *, version: int, zero_initial_transition: bool = False) -> None:
        self._group_id = channel_id.to_bytes(8, "big")
        self._sender = ExternalSender()
        self._zero_initial_transition = zero_initial_transition
        self._present: set[int] = set()
        self._key_packages: dict[int, bytes] = {}
        self._leaves: list[int | None] = []
        self._stale: set[int] = set()
        self._open: dict[bytes, _Open] = {}
        self._transitions: dict[int, _Transition] = {}
        self._last_transition = 0
        self.version = version
        self.epoch = 0

    @property
    def members(self) -> tuple[int, ...]:
        """The users in the group, by leaf."""
        return tuple(user for user in self._leaves if user is not None)

    @property
    def pending(self) -> tuple[int, ...]:
        """Users with a key package who wait to be in the group."""
        grouped = set(self.members) - self._stale
        return tuple(user for user in self._key_packages if user in self._present and user not in grouped)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way: no open proposal, no transition."""
        return not self._open and not self._transitions

    def join(self, user_id: int) -> list[ToMember]:
        """Somebody has connected who speaks DAVE."""
        self._present.add(user_id)
        return []

    def leave(self, user_id: int) -> list[ToMember]:
        """Somebody's connection ended."""
        self._present.discard(user_id)
        self._key_packages.pop(user_id, None)
        messages = self._reconcile()
        for number in list(self._transitions):
            messages += self.transition_ready(user_id, number)
        return messages

    def key_package(self, user_id: int, data: bytes) -> list[ToMember]:
        """Op 26; raises `DaveRefusal`."""
        try:
            owner = key_package_user(data)
        except MalformedMls as exc:
            raise DaveRefusal(f"op 26 is no key package: {exc}") from exc
        if owner != user_id:
            raise DaveRefusal(f"op 26 is the key package of user {owner}")
        if user_id not in self._present or self.version == 0:
            return []
        withdrawn = self._key_packages.get(user_id) is not None
        self._key_packages[user_id] = data
        if user_id in self.members:
            self._stale.add(user_id)
        messages = [ToMember(user_id, EXTERNAL_SENDER, self._sender.package())]
        return messages + (self._propose_again() if withdrawn else self._reconcile())

    def invalid(self, user_id: int) -> list[ToMember]:
        """Op 31: the member could not use its commit or Welcome; it is removed, and added with its next key package."""
        if user_id in self.members:
            self._stale.add(user_id)
            self._key_packages.pop(user_id, None)
        return self._reconcile()

    def commit(self, user_id: int, data: bytes) -> list[ToMember]:
        """Op 28; returns nothing for a commit that lost the race, raises `DaveRefusal` for a wrong one."""
        try:
            commit = parse_commit(data)
        except MalformedMls as exc:
            raise DaveRefusal(f"op 28 can't be read: {exc}") from exc
        if commit.group_id != self._group_id:
            raise DaveRefusal("op 28 is of another group")
        named = set(commit.references)
        if not named or named != {ref for ref, open_ in self._open.items() if user_id in open_.told}:
            return []
        initial = not self.members
        leaf = 0 if initial else self._leaves.index(user_id)
        if commit.epoch != self.epoch or commit.sender_leaf != leaf:
            raise DaveRefusal(f"op 28 is of epoch {commit.epoch}, leaf {commit.sender_leaf}")
        added = [self._open[ref].user_id for ref in commit.references if self._open[ref].kind == "add"]
        if added and not commit.welcome:
            return self._propose_again()
        return self._apply(user_id, commit, added, initial=initial) + self._reconcile()

    def _apply(self, committer: int, commit: Commit, added: list[int], *, initial: bool) -> list[ToMember]:
        if initial:
            self._leaves = [committer]
        removed = {o.user_id for o in self._open.values() if o.kind == "remove"}
        self._leaves = [None if user in removed else user for user in self._leaves]
        self._stale -= removed
        while self._leaves[-1] is None:
            self._leaves.pop()
        for user in added:
            if None in self._leaves:
                self._leaves[self._leaves.index(None)] = user
            else:
                self._leaves.append(user)
        self.epoch = commit.epoch + 1
        self._open.clear()
        there = frozenset(self.members) & self._present
        number = 0 if initial and self._zero_initial_transition else self._start_transition(there)
        prefix = number.to_bytes(2, "big")
        return [
            ToMember(user, WELCOME, prefix + commit.welcome)
            if user in added
            else ToMember(user, ANNOUNCE_COMMIT, prefix + commit.message)
            for user in self.members
            if user in there
        ]

    def transition_ready(self, user_id: int, number: int) -> list[ToMember]:
        """Op 23, or a member who need not be waited for any longer."""
        transition = self._transitions.get(number)
        if transition is None:
            return []
        transition.waiting.discard(user_id)
        return [] if transition.waiting else self.execute(number)

    def execute(self, number: int) -> list[ToMember]:
        """Everybody is ready, or the time for it is over; nothing when the transition is done already."""
        transition = self._transitions.pop(number, None)
        if transition is None:
            return []
        payload = {"transition_id": number}
        there = sorted(transition.members & self._present)
        return [ToMember(user, EXECUTE_TRANSITION, payload) for user in there]

    @property
    def open_transitions(self) -> tuple[int, ...]:
        """Transitions that wait for op 23, for the room's clock."""
        return tuple(self._transitions)

    def downgrade(self) -> list[ToMember]:
        """End encryption for all: protocol version 0."""
        self.version = 0
        self._forget_group()
        self._key_packages.clear()
        number = self._start_transition(frozenset(self._present))
        payload = {"protocol_version": 0, "transition_id": number}
        return [ToMember(user, PREPARE_TRANSITION, payload) for user in sorted(self._present)]

    def upgrade(self) -> list[ToMember]:
        """Begin encryption: a new group of protocol version 1."""
        self.version = 1
        payload = {"epoch": 1, "protocol_version": 1}
        sender = self._sender.package()
        return [
            message
            for user in sorted(self._present)
            for message in (ToMember(user, PREPARE_EPOCH, payload), ToMember(user, EXTERNAL_SENDER, sender))
        ]

    def _start_transition(self, members: frozenset[int]) -> int:
        self._last_transition = self._last_transition % 0xFFFF + 1
        if members:
            self._transitions[self._last_transition] = _Transition(set(members), members)
        return self._last_transition

    def _forget_group(self) -> None:
        self._leaves, self.epoch = [], 0
        self._open.clear()
        self._stale.clear()

    def _reconcile(self) -> list[ToMember]:
        """Propose what is missing; revoke and start again where a proposal lost its reason."""
        if self.version == 0:
            return []
        if self.members:
            staying = [u for u in self.members if u in self._present and u not in self._stale]
            if len(staying) < 2:
                return self._start_over(staying)
        wanted = self._wanted()
        if any((o.kind, o.user_id) not in wanted for o in self._open.values()):
            return self._propose_again()
        open_already = {(o.kind, o.user_id) for o in self._open.values()}
        for kind, user in sorted(wanted - open_already, reverse=True):
            proposal = (
                self._sender.propose_add(self._group_id, self.epoch, self._key_packages[user])
                if kind == "add"
                else self._sender.propose_remove(self._group_id, self.epoch, self._leaves.index(user))
            )
            self._open[proposal.reference] = _Open("add" if kind == "add" else "remove", user, proposal)
        return self._tell()

    def _wanted(self) -> set[tuple[str, int]]:
        pending = set(self.pending)
        if not self.members:
            return {("add", user) for user in pending} if len(pending) > 1 else set()
        gone = {u for u in self.members if u not in self._present or u in self._stale}
        return {("add", user) for user in pending} | {("remove", user) for user in gone}

    def _tell(self) -> list[ToMember]:
        members = self.members
        audience: Iterable[int] = (
            [u for u in members if u in self._present and u not in self._stale] if members else self.pending
        )
        messages = []
        for user in audience:
            news = [o for o in self._open.values() if user not in o.told and o.user_id != user]
            if news:
                for open_ in news:
                    open_.told.add(user)
                listed = b"".join(open_.proposal.message for open_ in news)
                messages.append(ToMember(user, PROPOSALS, APPEND + vector(listed)))
        return messages

    def _propose_again(self) -> list[ToMember]:
        messages = []
        for user in sorted({u for open_ in self._open.values() for u in open_.told} & self._present):
            known = b"".join(vector(ref) for ref, open_ in self._open.items() if user in open_.told)
            messages.append(ToMember(user, PROPOSALS, REVOKE + vector(known)))
        self._open.clear()
        return messages + self._reconcile()

    def _start_over(self, remaining: list[int]) -> list[ToMember]:
        self._forget_group()
        messages = []
        for user in remaining:
            self._key_packages.pop(user, None)
            messages += [
                ToMember(user, PREPARE_EPOCH, {"epoch": 1, "protocol_version": self.version}),
                ToMember(user, PREPARE_TRANSITION, {"transition_id": 0, "protocol_version": self.version}),
            ]
        return messages + self._reconcile()
