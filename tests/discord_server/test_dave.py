"""The server's side of DAVE against davey's members, without sockets."""

import random
import struct

import davey
import pytest

from tests.discord_server.dave import DaveGroup, DaveRefusal, ToMember
from tests.discord_server.mls import ExternalSender, MalformedMls, Reader, key_package_user, parse_commit, vector

CHANNEL_ID = 123_456_789_012_345_678
FRAME = b"\xfc" + bytes(range(40))


class Member:
    """A client's DAVE session, as discord.py drives it."""

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.session = davey.DaveSession(1, user_id, CHANNEL_ID)

    def take(self, message: ToMember, group: DaveGroup) -> list[ToMember]:
        """Do what a client does for `message`; return what the server then says."""
        payload = message.payload
        if message.op == 24:
            self.session.reinit(1, self.user_id, CHANNEL_ID)
            return group.key_package(self.user_id, self.session.get_serialized_key_package())
        if not isinstance(payload, bytes):
            return []
        if message.op == 25:
            self.session.set_external_sender(payload)
            return []
        if message.op == 27:
            kind = davey.ProposalsOperationType.revoke if payload[0] else davey.ProposalsOperationType.append
            result = self.session.process_proposals(kind, payload[1:])
            return group.commit(self.user_id, result.commit + (result.welcome or b"")) if result else []
        process = self.session.process_commit if message.op == 29 else self.session.process_welcome
        process(payload[2:])
        return group.transition_ready(self.user_id, struct.unpack_from(">H", payload)[0])


def deliver(group: DaveGroup, members: dict[int, Member], messages: list[ToMember]) -> list[ToMember]:
    """Deliver messages in order until there are none; return all of them."""
    delivered = []
    while messages:
        message, *messages = messages
        delivered.append(message)
        if message.user_id in members:
            messages += members[message.user_id].take(message, group)
    return delivered


def join(group: DaveGroup, members: dict[int, Member], user_id: int) -> list[ToMember]:
    """Let a user connect and send its key package; return what the server says."""
    member = members[user_id] = Member(user_id)
    return group.join(user_id) + group.key_package(user_id, member.session.get_serialized_key_package())


def assert_everybody_hears_everybody(group: DaveGroup, members: dict[int, Member]) -> None:
    expected = set(members) if len(members) > 1 else set()
    assert set(group.members) == expected
    assert group.is_settled
    for user_id in expected:
        session = members[user_id].session
        assert {int(user) for user in session.get_user_ids()} == expected
        assert session.own_leaf_index is not None
        encrypted = session.encrypt_opus(FRAME)
        for other_id in expected - {user_id}:
            assert members[other_id].session.decrypt(user_id, davey.MediaType.audio, encrypted) == FRAME


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_joins_and_leaves_ends_in_a_group_of_those_who_are_there(seed: int) -> None:
    chance = random.Random(seed)
    group, members = DaveGroup(CHANNEL_ID, version=1), dict[int, Member]()

    for _ in range(40):
        messages: list[ToMember] = []
        for _ in range(chance.choice([1, 1, 2, 3])):
            if not members or (len(members) < 7 and chance.random() < 0.55):
                messages += join(group, members, 1000 + chance.randrange(10**6))
            else:
                leaving = chance.choice(list(members))
                del members[leaving]
                messages += group.leave(leaving)
        deliver(group, members, messages)

        assert_everybody_hears_everybody(group, members)


def test_all_members_commit_and_the_first_one_wins() -> None:
    group, members = DaveGroup(CHANNEL_ID, version=1), dict[int, Member]()
    deliver(group, members, join(group, members, 1) + join(group, members, 2))

    delivered = deliver(group, members, join(group, members, 3))

    assert [(m.op, m.user_id) for m in delivered if m.op in (27, 29, 30)] == [
        (27, 1),
        (27, 2),
        (29, 1),
        (29, 2),
        (30, 3),
    ]
    assert group.epoch == 2


def test_a_joiner_who_leaves_before_the_commit_is_revoked_and_the_others_are_proposed_again() -> None:
    group, members = DaveGroup(CHANNEL_ID, version=1), dict[int, Member]()
    deliver(group, members, join(group, members, 1) + join(group, members, 2))
    proposed = join(group, members, 3) + join(group, members, 4)

    del members[4]
    withdrawn = group.leave(4)

    kinds = [(m.user_id, m.payload[0]) for m in withdrawn if isinstance(m.payload, bytes)]
    assert kinds == [(1, 1), (2, 1), (1, 0), (2, 0)], "revoked, then proposed"
    deliver(group, members, proposed + withdrawn)
    assert_everybody_hears_everybody(group, members)
    assert group.epoch == 2, "the one who left was never in the group"


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("is_package_first", [False, True], ids=["after the removal", "before the removal"])
def test_a_member_with_an_invalid_commit_is_removed_and_added_again(size: int, is_package_first: bool) -> None:
    group, members = DaveGroup(CHANNEL_ID, version=1), dict[int, Member]()
    deliver(group, members, [m for user_id in range(1, size + 1) for m in join(group, members, user_id)])

    members[size] = Member(size)
    removed = group.invalid(size)
    if not is_package_first:
        removed = deliver(group, members, removed)[:0]
    package = members[size].session.get_serialized_key_package()
    deliver(group, members, removed + group.key_package(size, package))

    assert_everybody_hears_everybody(group, members)


def test_a_member_that_is_removed_and_not_told_gets_no_message_until_its_next_key_package() -> None:
    group, members = DaveGroup(CHANNEL_ID, version=1), dict[int, Member]()
    deliver(group, members, [m for user_id in (1, 2, 3) for m in join(group, members, user_id)])

    delivered = deliver(group, members, group.invalid(3))

    assert {message.user_id for message in delivered} == {1, 2}
    assert group.members == (1, 2)
    with pytest.raises(ValueError, match="NoValidCryptorFound"):
        members[3].session.decrypt(1, davey.MediaType.audio, members[1].session.encrypt_opus(FRAME))
    del members[3]
    assert_everybody_hears_everybody(group, members)


def test_a_downgrade_forgets_the_group_and_an_upgrade_makes_a_new_one() -> None:
    group, members = DaveGroup(CHANNEL_ID, version=1), dict[int, Member]()
    deliver(group, members, join(group, members, 1) + join(group, members, 2))

    down = group.downgrade()
    executed = group.transition_ready(1, 2) + group.transition_ready(2, 2)

    assert [(m.op, m.payload) for m in down] == [(21, {"protocol_version": 0, "transition_id": 2})] * 2
    assert [(m.op, m.payload) for m in executed] == [(22, {"transition_id": 2})] * 2
    assert group.members == ()
    up = group.upgrade()
    assert [(message.user_id, message.op) for message in up] == [(1, 24), (1, 25), (2, 24), (2, 25)]
    deliver(group, members, up)
    assert_everybody_hears_everybody(group, members)


def test_a_transition_is_executed_once_by_readiness_or_by_time() -> None:
    group, members = DaveGroup(CHANNEL_ID, version=1), dict[int, Member]()
    deliver(group, members, join(group, members, 1) + join(group, members, 2))
    group.downgrade()

    assert group.transition_ready(1, 2) == []
    assert len(group.execute(2)) == 2
    assert group.transition_ready(2, 2) == []
    assert group.execute(2) == []


def test_the_first_transition_can_be_zero_which_nobody_confirms() -> None:
    group, members = DaveGroup(CHANNEL_ID, version=1, zero_initial_transition=True), dict[int, Member]()

    delivered = deliver(group, members, join(group, members, 1) + join(group, members, 2))

    assert [m.payload[:2] for m in delivered if m.op in (29, 30) and isinstance(m.payload, bytes)] == [b"\0\0", b"\0\0"]
    assert group.open_transitions == ()


@pytest.mark.parametrize("data", [b"", b"\0\1", bytes(400), b"\xff" * 400])
def test_what_is_no_key_package_or_commit_is_refused(data: bytes) -> None:
    group, members = DaveGroup(CHANNEL_ID, version=1), dict[int, Member]()
    join(group, members, 1)

    with pytest.raises(DaveRefusal):
        group.key_package(1, data)
    with pytest.raises(DaveRefusal):
        group.commit(1, data)


def test_somebody_elses_key_package_is_refused() -> None:
    group = DaveGroup(CHANNEL_ID, version=1)
    group.join(1)

    with pytest.raises(DaveRefusal, match="user 2"):
        group.key_package(1, Member(2).session.get_serialized_key_package())


@pytest.mark.parametrize("size", [0, 1, 63, 64, 16_383, 16_384, 70_000])
def test_a_vector_of_any_length_is_read_back(size: int) -> None:
    data = bytes(size)

    reader = Reader(vector(data) + b"rest")

    assert reader.vector() == data
    assert reader.rest == b"rest"


def test_a_vector_that_ends_too_early_or_has_a_wrong_prefix_is_malformed() -> None:
    with pytest.raises(MalformedMls):
        Reader(vector(bytes(100))[:-1]).vector()
    with pytest.raises(MalformedMls):
        Reader(b"\xc0" + bytes(100)).vector()


def test_a_cut_key_package_or_commit_is_malformed_at_every_length() -> None:
    alone = Member(7)
    package = alone.session.get_serialized_key_package()
    sender = ExternalSender()
    alone.session.set_external_sender(sender.package())
    other = Member(8).session.get_serialized_key_package()
    proposal = sender.propose_add(CHANNEL_ID.to_bytes(8, "big"), 0, other)
    result = alone.session.process_proposals(davey.ProposalsOperationType.append, vector(proposal.message))
    assert result is not None

    assert key_package_user(package) == 7
    assert parse_commit(result.commit).references == (proposal.reference,)
    for size in range(len(package)):
        with pytest.raises(MalformedMls):
            key_package_user(package[:size])
    for size in range(len(result.commit)):
        with pytest.raises(MalformedMls):
            parse_commit(result.commit[:size])
