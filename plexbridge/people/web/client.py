"""One connection to `/ws/voice`, from the hello to the close: who it is, what it wants, what ends it.

A page says hello, and is either given its own voice back (`mirror`) or the time of a model (`visit`). Beside that run
the reader of its messages, the one task that sends (`downlink`), and the pings that find out whether it is still there.
Whatever ends the connection first is what the page is told, and everything of it ends with it. What a page does costs
only itself: nothing is raised from here but cancellation, which means that plexbridge stops.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import asdict, replace

import trio
import trio_websocket

from plexbridge import logs
from plexbridge.errors import PacketError, PlexbridgeError, RequestError
from plexbridge.people.web.allowance import Allowance, Verdict
from plexbridge.people.web.downlink import Downlink, Ending
from plexbridge.people.web.levels import Levels
from plexbridge.people.web.messages import (
    CLOSE_CODES,
    GOODBYE_CODE,
    STOPPING_CODE,
    Bye,
    Code,
    Codec,
    Hello,
    Mode,
    Refused,
    Traffic,
    bye_message,
    error_message,
    parse_audio,
    parse_hello,
    parse_text,
    ready_message,
    stats_message,
)
from plexbridge.people.web.mirror import Mirror
from plexbridge.people.web.visit import Surroundings, Visit, check_model, persona_for
from plexbridge.people.web.voice import WebPeople
from plexbridge.service import Failures

logger = logging.getLogger(__name__)

HELLO_SECONDS = 5.0
PING_SECONDS = 10.0
PONG_SECONDS = 10.0
LOG_SECONDS = 1.0

UNAUTHORIZED_SENTENCE = "This page needs the right token. Please ask whoever runs plexbridge for it."
TIMEOUT_SENTENCE = f"The page has not said hello within {HELLO_SECONDS:.0f} seconds."
TOO_FAST_SENTENCE = "The page sends more than plexbridge takes."
BACKWARDS_SENTENCE = "The page counts what it sends backwards."
BYE_SENTENCE = "Goodbye."
STOPPING_SENTENCE = "plexbridge is being stopped. Please come back later."

GONE = Ending(GOODBYE_CODE)
LEFT = Ending(GOODBYE_CODE, bye_message(BYE_SENTENCE))
STOPPING = Ending(STOPPING_CODE, bye_message(STOPPING_SENTENCE))


async def converse(
    websocket: trio_websocket.WebSocketConnection, greet: Callable[[], None], around: Surroundings
) -> None:
    """Serve one page until it leaves, fails or is cancelled, and close its WebSocket; that takes half a second at most.

    `greet` is called when it has said a hello that is accepted.
    The WebSocket's reader has to run for so long; the stream below it is the caller's to close in any case.
    """
    client = _Client(websocket, greet, around)
    ending = STOPPING
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.downlink.run)
        try:
            ending = await client.hold()
        finally:
            client.downlink.finish(ending)


class _Client:
    """What is known of one page, and what it is served with."""

    def __init__(
        self, websocket: trio_websocket.WebSocketConnection, greet: Callable[[], None], around: Surroundings
    ) -> None:
        self._accept = greet
        self.downlink = Downlink(websocket)
        self._websocket = websocket
        self._around = around
        self._session = secrets.token_hex(3)
        self._levels = Levels()
        self._allowance = Allowance(trio.current_time())
        self._last_sequence = -1
        self._received = self._dropped = 0
        self._ending: Ending | None = None
        self._scope = trio.CancelScope()

    async def hold(self) -> Ending:
        """Serve the page; return how the connection ends."""
        logs.session_id.set(self._session)
        failures = Failures("a connection of the web page")
        with failures.collect():
            try:
                hello = await self._greet()
                if hello is None:
                    return _error(Code.HELLO_TIMEOUT, TIMEOUT_SENTENCE)
                return await self._serve(hello)
            except Refused as refused:
                logger.info("a page was refused: %s", refused.code.value)
                return _error(refused.code, refused.user_message)
            except trio_websocket.ConnectionClosed:
                return GONE
        failures.principal()  # which logs it
        return _error(Code.INTERNAL, PlexbridgeError.user_message)

    async def _greet(self) -> Hello | None:
        """Return what the page wants, once that is known to be possible; None when it does not say."""
        with trio.move_on_after(HELLO_SECONDS):
            hello = parse_hello(await self._websocket.get_message())
            if not self._around.is_token(hello.token):
                raise Refused(Code.UNAUTHORIZED, UNAUTHORIZED_SENTENCE)
            check_model(hello, self._around.pool)
            self._accept()
            return hello
        return None

    async def _serve(self, hello: Hello) -> Ending:
        visit: Visit | None = None
        ear: Mirror | WebPeople
        if hello.mode is Mode.LOOPBACK:
            ear = Mirror(self.downlink, self._levels, hello.codec)
        else:
            persona = persona_for(hello, self._around.persona)
            logs.redact(hello.prompt or "", is_chosen=True)
            ear = WebPeople(self.downlink, self._levels, hello.codec, self._around.hearing)
            visit = Visit(hello, persona, ear, self.downlink, self._around, session=self._session)
        logger.info("a page has come: %s, %s", hello.mode.value, hello.codec.value)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._keep_alive)
                    nursery.start_soon(self._log, ear)
                    if visit is None:
                        self.downlink.tell(ready_message(hello, session=self._session, model=None, voice=None))
                    else:
                        nursery.start_soon(self._visit, visit)
                    await self._read(hello, ear, visit)
        finally:
            ear.close()
            logger.info("a page has gone: %s, lost texts %s", _counts(self._traffic(ear)), self.downlink.lost_texts)
        return self._ending or GONE

    async def _read(self, hello: Hello, ear: Mirror | WebPeople, visit: Visit | None) -> None:
        """Take what the page sends until it leaves."""
        while True:
            try:
                message = await self._websocket.get_message()
                if visit is not None:
                    visit.received()
                if isinstance(message, bytes):
                    self._hear(message, hello.codec, ear)
                else:
                    self._note(message, ear, visit)
            except Refused as refused:
                logger.info("a page was refused: %s", refused.code.value)
                self._end(_error(refused.code, refused.user_message))
            except trio_websocket.ConnectionClosed:
                self._end(GONE)
            if self._ending is not None:
                return

    def _hear(self, message: bytes, codec: Codec, ear: Mirror | WebPeople) -> None:
        """Take a binary message; what can't be heard any more, or never could, is counted and dropped."""
        verdict = self._allowance.audio(trio.current_time())
        if verdict is Verdict.FLOOD:
            raise Refused(Code.TOO_FAST, TOO_FAST_SENTENCE)
        self._received += 1
        try:
            audio = parse_audio(message, codec)
        except PacketError:
            self._dropped += 1
            return
        if audio.sequence <= self._last_sequence:
            raise Refused(Code.BAD_MESSAGE, BACKWARDS_SENTENCE)
        self._last_sequence = audio.sequence
        if verdict is Verdict.DROP:
            self._dropped += 1
        else:
            ear.hear(audio)

    def _note(self, message: str, ear: Mirror | WebPeople, visit: Visit | None) -> None:
        """Take a text message."""
        if self._allowance.text(trio.current_time()) is Verdict.FLOOD:
            raise Refused(Code.TOO_FAST, TOO_FAST_SENTENCE)
        meaning = parse_text(message)
        if isinstance(meaning, Bye):
            self._end(LEFT)
            return
        self.downlink.lateness.played(meaning.played, now_seconds=trio.current_time())
        self.downlink.tell(
            stats_message(
                meaning,
                self._traffic(ear),
                ledger=None if visit is None else visit.ledger,
                answer_seconds=ear.response_times.half_and_most_seconds if isinstance(ear, WebPeople) else None,
            )
        )

    async def _visit(self, visit: Visit) -> None:
        failure = await visit.hold()
        self._end(_ending(failure))

    async def _keep_alive(self) -> None:
        """Find out that nobody is there any more, which a connection by itself may not show for hours."""
        while True:
            await trio.sleep(PING_SECONDS)
            with trio.move_on_after(PONG_SECONDS) as patience:
                try:
                    await self._websocket.ping()
                except trio_websocket.ConnectionClosed:
                    self._end(GONE)
                    return
            if patience.cancelled_caught:
                logger.info("a page does not answer any more")
                self._end(GONE)
                return

    async def _log(self, ear: Mirror | WebPeople) -> None:
        """Write down once a second what has passed, while something does."""
        before = self._traffic(ear)
        while True:
            await trio.sleep(LOG_SECONDS)
            traffic = self._traffic(ear)
            if traffic != before:
                logger.debug("audio: %s", _counts(traffic))
            before = traffic

    def _traffic(self, ear: Mirror | WebPeople) -> Traffic:
        traffic = ear.traffic()
        return replace(
            traffic,
            received=self._received,
            dropped=traffic.dropped + self._dropped,
            sent=self.downlink.sent_frames,
            withheld=self.downlink.withheld_frames,
        )

    def _end(self, ending: Ending) -> None:
        """End everything; the first cause stays."""
        if self._ending is None:
            self._ending = ending
            self._scope.cancel(reason="the connection ends")


def _ending(failure: PlexbridgeError) -> Ending:
    """Return how a connection ends with whose talk it is over."""
    if isinstance(failure, Refused):
        return _error(failure.code, failure.user_message)
    if isinstance(failure, RequestError):
        return _error(Code.BAD_REQUEST, failure.user_message)
    # Only a bug is reported as nothing more than an error.
    return _error(Code.INTERNAL if type(failure) is PlexbridgeError else Code.MODEL_FAILED, failure.user_message)


def _error(code: Code, sentence: str) -> Ending:
    return Ending(CLOSE_CODES[code], error_message(code, sentence))


def _counts(traffic: Traffic) -> str:
    return ", ".join(f"{name} {count}" for name, count in asdict(traffic).items())
