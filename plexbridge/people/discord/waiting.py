"""A room's wait for its turn at a model: what stands in the chat meanwhile, who is called, and when it is given up.

While a room waits, its people are in their voice channel and the bot in none. A message says which place in the queue
is theirs. When their turn comes, one of them is called, and the bot joins as soon as somebody is there who can be
heard. Where nobody has been there for `place_seconds`, before the turn or after, the place is given up.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import trio

from plexbridge.model.standing import about
from plexbridge.model.ticket import Ticket
from plexbridge.people.discord.attendance import Presence
from plexbridge.people.discord.chat import HURRIED_SECONDS
from plexbridge.people.discord.notice import Caller, Notice
from plexbridge.people.discord.portal import Portal

CALL_SECONDS = 2.0
"""For writing that it is somebody's turn, before the bot joins."""

LEFT_SENTENCE = "You have left the queue."
CALLED_SENTENCE = "Your turn has come."
FORGONE_SENTENCE = "Nobody was here to talk, so your place in the queue is gone. With /join you get another."


class Lookout(Caller, Protocol):
    """What sees who is there, and calls them: `bot.Bot`."""

    def present(self) -> Mapping[int, Presence]:
        """Return who is in which voice channel at the moment; from any thread."""


class Waiting:
    """The waiting of one room, which `starter_id` has asked for; it may wait again when its time is up.

    `text_channel` is where words go, if not to the voice channel's own chat. `waits` is told when the room begins to
    wait for a model, and when it does so no longer.
    """

    def __init__(
        self,
        portal: Portal,
        lookout: Lookout,
        *,
        starter_id: int,
        channel_id: int,
        humans: frozenset[int],
        text_channel: int | None,
        place_seconds: float,
        waits: Callable[[bool], None],
    ) -> None:
        self._portal = portal
        self._lookout = lookout
        self._starter_id = starter_id
        self._channel_id = channel_id
        self._humans = humans
        self._text_channel = text_channel
        self._place_seconds = place_seconds
        self._waits = waits
        self._looked = trio.Event()
        """Somebody may have come or gone, or been muted."""
        self._notice: Notice | None = None

    def set_humans(self, humans: frozenset[int]) -> None:
        """These are the people now."""
        self._humans = humans

    def look(self) -> None:
        """Have a look at who is there, and who is muted."""
        self._looked.set()
        self._looked = trio.Event()

    def move(self, channel_id: int) -> None:
        """The people have gone to another voice channel."""
        self._channel_id = channel_id
        if self._notice is not None and self._text_channel is None:
            self._notice.move(channel_id)

    async def wait_turn(self, ticket: Ticket) -> bool:
        """Wait for a place at a model; return whether somebody is there to use it."""
        if ticket.standing is None:
            return True
        self._waits(True)
        self._notice = notice = Notice(self._portal, self._lookout, self._text_channel or self._channel_id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notice.run)
            last_words = LEFT_SENTENCE
            try:
                is_kept = await self._keep_place(ticket, notice)
                last_words = CALLED_SENTENCE if ticket.standing is None else LEFT_SENTENCE
            finally:
                notice.show(last_words)
                notice.finish(within_seconds=CALL_SECONDS if last_words is CALLED_SENTENCE else HURRIED_SECONDS)
                self._notice = None
        return is_kept

    async def _keep_place(self, ticket: Ticket, notice: Notice) -> bool:
        """Wait until it is the room's turn, and somebody is there to talk; return False when nobody is for too long."""
        has_turn = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._mind_absence, nursery.cancel_scope)
            await ticket.wait_turn(lambda standing: notice.show(str(standing)))
            has_turn = True
            # Who was away before has the whole time from the call on.
            nursery.cancel_scope.cancel(reason="the turn has come")
        if not has_turn:
            return False
        self._call(notice)
        with trio.move_on_after(self._place_seconds):
            while not self._talkers():
                await self._looked.wait()
            self._waits(False)  # from now on, who leaves ends it
            return True
        return False

    def _call(self, notice: Notice) -> None:
        """Tell who wanted the conversation, or else somebody who is there, that it is their turn."""
        called_id = self._starter_id
        if self._humans and called_id not in self._humans:
            called_id = min(self._humans)
        sentence = f"<@{called_id}> It is your turn: a speech model is free."
        if not self._talkers():
            sentence += f" I keep the place for {about(self._place_seconds)}."
        notice.call(sentence, called_id)

    async def _mind_absence(self, wait: trio.CancelScope) -> None:
        """End the wait when nobody has been in the channel for too long."""
        while True:
            while self._humans:
                await self._looked.wait()
            with trio.move_on_after(self._place_seconds):
                while not self._humans:
                    await self._looked.wait()
            if not self._humans:
                wait.cancel(reason="nobody is there any more")
                return

    def _talkers(self) -> frozenset[int]:
        """Return who is there and can be heard."""
        presence = self._lookout.present().get(self._channel_id)
        return self._humans if presence is None else self._humans - presence.muted
