"""Captions: pieces of words become messages that a person can read, within Discord's limits."""

import random
from math import inf

import pytest

from plexbridge.model.conversation import STATE_SENTENCES, State
from plexbridge.people.discord.captions import (
    EDIT_SECONDS,
    MESSAGE_CHARS,
    PAUSE_SECONDS,
    PENDING_LIMIT_CHARS,
    SLOW_SECONDS,
    WAIT_SECONDS,
    Captions,
    Edit,
    Post,
    plain,
)

DISCORD_LIMIT_CHARS = 2_000


class Channel:
    """Writes down what captions say, as Discord would show it."""

    def __init__(self, captions: Captions) -> None:
        self.captions = captions
        self.messages: list[str] = []
        self.times: list[float] = []
        self.now_seconds = 0.0

    def run_until(self, end_seconds: float) -> None:
        """Write all that is due until then."""
        while (due := self.captions.due_seconds()) <= end_seconds:
            self.now_seconds = max(self.now_seconds, due)
            write = self.captions.take(self.now_seconds)
            assert write is not None, "what is due can be taken"
            assert len(write.text) <= DISCORD_LIMIT_CHARS
            assert write.text.strip() == write.text != ""
            if isinstance(write, Edit):
                self.messages[-1] = write.text
            else:
                self.messages.append(write.text)
            self.times.append(self.now_seconds)
        self.now_seconds = end_seconds

    def hear(self, text: str, *, piece_chars: int = 3, piece_seconds: float = 0.08) -> None:
        """Let the model say a text, piece by piece."""
        for start in range(0, len(text), piece_chars):
            self.captions.show(text[start : start + piece_chars], now_seconds=self.now_seconds)
            self.run_until(self.now_seconds + piece_seconds)


@pytest.fixture
def channel() -> Channel:
    return Channel(Captions())


def test_a_sentence_is_one_message_that_grows(channel: Channel) -> None:
    text = "I heard you. This is a fixed sentence, spoken whenever you stop."

    channel.hear(text)
    channel.run_until(60)

    assert channel.messages == [text]


def test_only_whole_words_are_shown_while_the_model_speaks(channel: Channel) -> None:
    text = "extraordinary circumstances need extraordinary measures " * 4
    words = set(text.split())

    for start in range(0, len(text), 3):
        channel.captions.show(text[start : start + 3], now_seconds=channel.now_seconds)
        channel.run_until(channel.now_seconds + 0.08)
        assert set(" ".join(channel.messages).split()) <= words


def test_messages_and_edits_are_never_closer_than_the_rate_limit_allows(channel: Channel) -> None:
    channel.hear("word after word, and no end of it. " * 60)
    channel.run_until(channel.now_seconds + 60)

    gaps = [later - earlier for earlier, later in zip(channel.times, channel.times[1:], strict=False)]
    assert min(gaps) >= EDIT_SECONDS - 1e-9


def test_a_long_speech_is_cut_at_sentence_ends(channel: Channel) -> None:
    sentence = "This is one sentence of the speech, as long as sentences are. "
    channel.hear(sentence * 40)
    channel.run_until(channel.now_seconds + 60)

    assert " ".join(channel.messages) == (sentence * 40).strip()
    assert len(channel.messages) > 2
    assert all(message.endswith(".") for message in channel.messages)
    assert all(len(message) >= MESSAGE_CHARS for message in channel.messages[:-1])


@pytest.mark.parametrize("text", ["a" * 5_000, "@" * 3_000, "ab *" * 1_500, "word " * 1_000])
def test_text_without_sentences_is_cut_within_discords_limit(text: str, channel: Channel) -> None:
    channel.hear(text, piece_chars=40)
    channel.run_until(channel.now_seconds + 60)

    shown = "".join(channel.messages).replace(" ", "")
    assert shown == plain(text).replace(" ", "")


def test_what_comes_after_a_pause_is_a_new_message(channel: Channel) -> None:
    channel.hear("The first thing.")
    channel.run_until(channel.now_seconds + PAUSE_SECONDS + 1)
    channel.hear(" The second thing.")
    channel.run_until(channel.now_seconds + 10)

    assert channel.messages == ["The first thing.", "The second thing."]


def test_a_notice_stands_at_once_and_below_what_was_said_before(channel: Channel) -> None:
    channel.hear("Something was said. ")
    channel.run_until(channel.now_seconds + 2)
    channel.captions.say("The speech model was lost.")
    channel.run_until(channel.now_seconds)
    channel.hear("More is said.")
    channel.run_until(channel.now_seconds + 10)

    assert channel.messages == ["Something was said.", "The speech model was lost.", "More is said."]


def test_no_text_can_call_or_draw_anything(channel: Channel) -> None:
    channel.hear("Hi @everyone and <@123> **bold** `code` ||spoiler|| # big [x](http://y)")
    channel.run_until(channel.now_seconds + 10)

    (message,) = channel.messages
    assert "@everyone" not in message
    assert "<@1" not in message
    assert "\\*\\*bold\\*\\*" in message
    assert "\\|\\|" in message


def test_finishing_shows_the_last_word_at_once(channel: Channel) -> None:
    channel.hear("almost fini", piece_seconds=0.01)
    channel.captions.finish()
    channel.run_until(channel.now_seconds)

    assert channel.messages == ["almost fini"]
    assert channel.captions.due_seconds() == inf


def test_what_can_not_be_written_is_bounded_and_loses_its_beginning() -> None:
    captions = Captions()
    for number in range(10_000):
        captions.show(f"{number} ", now_seconds=number * 0.01)
    for _ in range(1_000):
        captions.say("notice")
    captions.finish()

    writes = []
    while (write := captions.take(1_000.0)) is not None:
        writes.append(write)

    words = [write.text for write in writes if write.text != "notice"]
    assert words[-1].endswith("9999")
    assert len("".join(words)) <= PENDING_LIMIT_CHARS
    assert sum(write.text == "notice" for write in writes) <= 20


def test_waiting_is_told_only_when_it_lasts_and_so_is_its_end(channel: Channel) -> None:
    captions = channel.captions
    captions.tell(State.CONNECTING, now_seconds=0.0)
    captions.tell(State.WAITING, now_seconds=0.0)
    captions.tell(State.LIVE, now_seconds=WAIT_SECONDS / 2)
    channel.run_until(10)
    assert channel.messages == []

    captions.tell(State.WAITING, now_seconds=10.0)
    channel.run_until(10 + WAIT_SECONDS)
    assert channel.messages == [STATE_SENTENCES[State.WAITING]]
    captions.tell(State.LIVE, now_seconds=15.0)
    channel.run_until(20)

    assert channel.messages[1:] == [STATE_SENTENCES[State.LIVE]]


def test_a_slow_model_is_told_soon_and_so_is_its_recovery(channel: Channel) -> None:
    channel.captions.tell(State.TOO_SLOW, now_seconds=1.0)
    channel.run_until(1.0 + SLOW_SECONDS + 0.1)
    for state in (State.LIVE, State.ENDED):
        channel.captions.tell(state, now_seconds=channel.now_seconds)
    channel.run_until(6)

    assert channel.messages == [STATE_SENTENCES[State.TOO_SLOW], STATE_SENTENCES[State.LIVE]]


def test_a_model_that_fell_behind_only_because_it_ended_is_not_called_slow(channel: Channel) -> None:
    channel.captions.tell(State.TOO_SLOW, now_seconds=1.0)
    channel.run_until(1.5)
    channel.captions.rest()
    channel.captions.say("It was lost.")
    channel.run_until(10)

    assert channel.messages == ["It was lost."]


def test_half_a_word_of_a_model_that_was_lost_stands_above_the_notice(channel: Channel) -> None:
    channel.hear("You said some", piece_chars=4)
    channel.run_until(channel.now_seconds + 0.5)
    channel.captions.rest()
    channel.captions.say("It was lost.")
    channel.run_until(channel.now_seconds + 10)

    assert channel.messages == ["You said some", "It was lost."]


def test_any_speech_arrives_whole_whatever_its_pieces_and_pauses() -> None:
    random_source = random.Random(1)
    for _ in range(30):
        words = ["".join(random_source.choices("abc.,!?", k=random_source.randint(1, 12))) for _ in range(300)]
        channel = Channel(Captions())
        text = " ".join(words)
        position = 0
        while position < len(text):
            size = random_source.randint(1, 12)
            channel.hear(
                text[position : position + size], piece_chars=size, piece_seconds=random_source.choice((0.01, 0.1, 5))
            )
            position += size
        channel.captions.finish()
        channel.run_until(channel.now_seconds + 100)

        assert "".join(channel.messages).replace(" ", "").replace("\n", "") == text.replace(" ", "")


def test_a_post_that_is_complete_is_not_open_for_edits() -> None:
    captions = Captions()
    captions.say("notice")
    captions.show("word " * 400, now_seconds=0.0)

    assert captions.take(10.0) == Post("notice", is_open=False)
    long = captions.take(10.0)
    assert isinstance(long, Post)
    assert not long.is_open
