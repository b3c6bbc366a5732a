"""Debian's Chromium with a microphone that speaks a file, for the live tests, the benchmark and the pictures.

Playwright drives the Chromium that the system has; it downloads none. Its synchronous interface keeps an event loop of
its own, so it must not be used in a test that runs on Trio.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import soundfile
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from plexbridge.audio.pcm import Samples, from_int16, silence
from tests.command import SPEECH
from tests.discord_bridge import Bridge, run_service

CHROMIUM = "/usr/bin/chromium"
TAPS = Path(__file__).parent / "browser_taps.js"
TAPS_WORKLET = TAPS.with_name("browser_taps_worklet.js")
POLICY = "Content Security Policy"
PAGE_SECONDS = 15.0
"""How long anything may take to appear on the page."""
expect.set_options(timeout=1000 * PAGE_SECONDS)
UNPROCESSED = """{
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  const off = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  navigator.mediaDevices.getUserMedia = ({ audio }) => ask({ audio: { ...audio, ...off } });
}"""
"""A microphone without the browser's processing, whose high-pass filter alone turns the phases of a voice so much that
what was spoken and what is captured correlate by no more than 0.75."""


def write_microphone(folder: Path, *, seconds: float, pause_seconds: float = 0.5) -> Path:
    """Return a file with the first `seconds` of the shipped speech and a pause; the microphone repeats it."""
    samples, rate_hz = soundfile.read(SPEECH, dtype="float32")
    path = folder / "microphone.wav"
    spoken = samples[: round(seconds * rate_hz)]
    soundfile.write(path, np.concatenate((spoken, silence(round(pause_seconds * rate_hz)))), rate_hz)
    return path


@contextmanager
def launch_chromium(microphone: Path) -> Iterator[Browser]:
    """Run one Chromium whose microphone speaks this file, over and over."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={microphone.absolute()}"],
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def run_web(folder: Path, *, port: int = 0, **settings: str) -> Iterator[tuple[Bridge, str]]:
    """Run `plexbridge run` with the web front on a free port, and yield it with the page's address.

    More settings as keywords, without their prefix.
    """
    named = {"WEB_PORT": str(port), **settings}
    with run_service(folder, {f"PLEXBRIDGE_{name}": value for name, value in named.items()}) as service:
        yield service, page_address(service.ready_line)


def page_address(ready_line: str) -> str:
    """Return the page's address from the line that says "ready"."""
    return next(word for word in ready_line.split() if word.startswith(("http://", "https://"))).rstrip(";")


def port_of(address: str) -> int:
    """Return the port of an address."""
    port = urlsplit(address).port
    assert port is not None
    return port


@contextmanager
def open_page(browser: Browser, address: str, *scripts: str, **options: object) -> Iterator[Page]:
    """Open the page in a context of its own, with its errors noted and asserted to be none at the end.

    What its content security policy stops is an error too; the browser says that on the console only.

    `scripts` run before the page's own; `options` are those of `new_context`, where the microphone is granted unless
    they say otherwise.
    """
    wanted = {"permissions": ["microphone"], **options}
    context: BrowserContext = browser.new_context(**wanted)  # type: ignore[arg-type]  # of many types, by name
    try:
        for script in scripts:
            context.add_init_script(script)
        page = context.new_page()
        page.set_default_timeout(1000 * PAGE_SECONDS)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if POLICY in said.text else None)
        page.goto(address)
        yield page
        assert errors == []
    finally:
        context.close()


@dataclass(frozen=True)
class Taps:
    """What was recorded in a page, sample by sample on one clock, at 48 kHz."""

    heard: Samples
    """What the microphone gave to the page."""
    played: Samples
    """What the page gave to the loudspeaker."""


@contextmanager
def open_tapped_page(browser: Browser, address: str, *scripts: str, **options: object) -> Iterator[Page]:
    """Open the page as `open_page` does, with taps at its microphone and its loudspeaker.

    They are code that does not come from the service, so its content security policy is not in force here.
    """
    worklet = f"const TAPS_WORKLET = {json.dumps(TAPS_WORKLET.read_text())};"
    with open_page(browser, address, worklet + TAPS.read_text(), *scripts, bypass_csp=True, **options) as page:
        yield page


def record(page: Page, seconds: float) -> None:
    """Record for some seconds; what the page shows may be read then, and after that the taps."""
    page.evaluate("taps.restart()")
    page.wait_for_timeout(1000 * seconds)


def take_taps(page: Page) -> Taps:
    """Return what was recorded. It takes the page so long that its sound may stop."""
    taken = page.evaluate("taps.take()")
    heard, played = (np.frombuffer(base64.b64decode(taken[name]), "<i2") for name in ("heard", "played"))
    return Taps(from_int16(heard), from_int16(played))


def wait_state(page: Page, *states: str) -> None:
    """Wait until the conversation is in one of these states."""
    page.locator(", ".join(f'body[data-state="{state}"]' for state in states)).wait_for()
