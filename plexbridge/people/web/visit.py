"""A visitor's time with the models: a place in the queue, a talk, and the queue again when the time is up.

Visitors share the pool with everybody else. All of them together count as one server, so that a crowd on the page
leaves room for the servers on Discord, and within it who came first is first. A page that is there but sends nothing,
as a sleeping one does, keeps its place at a model for as long as a channel without people would.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import trio

from plexbridge.audio.hearing import HearingSettings
from plexbridge.config import TYPICAL_URL, PersonaConfig, RenewalConfig
from plexbridge.errors import PlexbridgeError, RequestError, TurnOver
from plexbridge.model.pool import Pool
from plexbridge.model.request import build_request
from plexbridge.model.ticket import Ticket
from plexbridge.model.voices import check_voice
from plexbridge.people.web.downlink import Downlink
from plexbridge.people.web.messages import Code, Hello, Refused, notice_message, queue_message, ready_message
from plexbridge.people.web.voice import WebPeople
from plexbridge.service import Progress
from plexbridge.session.ledger import Ledger
from plexbridge.session.session import SessionSettings
from plexbridge.talk import Talk, hold_talk

WEB_GUILD = 0
"""The server that all visitors count for; no server on Discord has this number."""
FORGONE_SENTENCE = "Nothing has come from your page for too long, so somebody else has your place."

_rooms = itertools.count(-1, -1)
"""What the pool knows visits by; Discord's numbers are positive."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all visitors share."""

    pool: Pool
    persona: PersonaConfig
    """For who asks for nothing else."""
    settings: SessionSettings
    renewal: RenewalConfig
    hearing: HearingSettings
    place_seconds: float
    """How long a place is kept for a page that sends nothing."""
    is_token: Callable[[str | None], bool]
    """Says whether it is the one that opens the front; None: a page has sent none."""


def persona_for(hello: Hello, persona: PersonaConfig) -> PersonaConfig:
    """Return who the model is to be; raises Refused for a voice or a prompt that no model takes."""
    try:
        voice = check_voice(hello.voice or persona.voice)
        prompt = hello.prompt or persona.prompt
        build_request(dialect="personaplex", url=TYPICAL_URL, voice=voice, prompt=prompt)
    except RequestError as error:
        raise Refused(Code.BAD_REQUEST, error.user_message) from error
    return persona.model_copy(update={"voice": voice, "prompt": prompt})


def check_model(hello: Hello, pool: Pool) -> None:
    """Raise Refused for a model that there is none of."""
    names = [status.name for status in pool.statuses()]
    if hello.model is not None and hello.model not in names:
        raise Refused(Code.BAD_REQUEST, f"There is no such speech model here. There is {' and '.join(names)}.")


class Visit:
    """One visitor in model mode."""

    def __init__(
        self,
        hello: Hello,
        persona: PersonaConfig,
        people: WebPeople,
        downlink: Downlink,
        around: Surroundings,
        *,
        session: str,
    ) -> None:
        self._hello = hello
        self._persona = persona
        self._people = people
        self._downlink = downlink
        self._around = around
        self._session = session
        self._progress = Progress()
        self._received_seconds = trio.current_time()
        """When the page has last sent anything."""
        self._is_forgone = False

    @property
    def ledger(self) -> Ledger | None:
        """That of the running conversation; None while there is none."""
        return None if self._progress.conversation is None else self._progress.ledger

    def received(self) -> None:
        """Something has come from the page."""
        self._received_seconds = trio.current_time()

    async def hold(self) -> PlexbridgeError:
        """Wait and talk, over and over where the time is limited; return why it has ended."""
        with self._around.pool.request(next(_rooms), WEB_GUILD, only=self._hello.model) as ticket:
            self._people.listens = lambda: self._tell_ready(ticket)
            while True:
                await ticket.wait_turn(lambda standing: self._downlink.tell(queue_message(standing)))
                failure = await self._talk(ticket)
                if self._is_forgone:
                    return Refused(Code.FORGONE, FORGONE_SENTENCE)
                if isinstance(failure, TurnOver):
                    self._say(failure.user_message)
                    ticket.requeue()
                elif ticket.may_wait_after(failure):
                    ticket.requeue(is_first=True)  # other models work, and are taken
                else:
                    return failure or PlexbridgeError("a page can't leave a talk by itself")

    async def _talk(self, ticket: Ticket) -> PlexbridgeError | None:
        failure = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._mind_absence, nursery.cancel_scope)
            failure = await hold_talk(
                Talk(self._people, self._say, self._progress, ticket),
                persona=self._persona,
                settings=self._around.settings,
                renewal=self._around.renewal,
                random=Random(),
            )
            nursery.cancel_scope.cancel(reason="the talk has ended")
        return failure

    async def _mind_absence(self, talk: trio.CancelScope) -> None:
        """End the talk when nothing has come from the page for too long: no sound, and no report either."""
        since_seconds = trio.current_time()
        while (due_seconds := since_seconds + self._around.place_seconds) > trio.current_time():
            await trio.sleep_until(due_seconds)
            since_seconds = max(since_seconds, self._received_seconds)
        self._is_forgone = True
        talk.cancel(reason="nothing comes from the page")

    def _tell_ready(self, ticket: Ticket) -> None:
        self._downlink.tell(
            ready_message(self._hello, session=self._session, model=ticket.model, voice=self._persona.voice)
        )

    def _say(self, sentence: str) -> None:
        self._downlink.tell(notice_message(sentence))
