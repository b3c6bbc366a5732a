"""The report of `plexbridge check`: the configuration in force, and one line for each thing that it needs.

A line says what was found and, where something is wrong or risky, the cure. Nothing here connects to a model: it is
tried by the `probe` that the caller hands in, which holds the model's lock like any call does. The store is looked into
as it is; what is missing there is not made. The page's port is taken and given back.
"""

import os
import platform
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path

from plexbridge.audio import opus
from plexbridge.config import (
    Config,
    ModelConfig,
    PersonaConfig,
    SpeechConfig,
    StoreConfig,
    WebConfig,
    mask_store_url,
    mask_url,
)
from plexbridge.errors import (
    ConfigError,
    LibraryMissing,
    LibraryUnfit,
    ModelBusy,
    ModelRefused,
    ModelUnreachable,
    ModelUntrusted,
    PlexbridgeError,
    RequestError,
    SpeechError,
)
from plexbridge.model.request import build_request, parse_address
from plexbridge.model.voices import VOICES
from plexbridge.people.discord.library import CURE, check_library
from plexbridge.people.web.access import is_loopback
from plexbridge.people.web.door import is_healthy, open_door
from plexbridge.speech.engines import open_engine, prove

Probe = Callable[[ModelConfig], Awaitable[float | PlexbridgeError]]
"""Connects to a model, waits for its handshake and hangs up: the seconds that it took, or what failed."""


class Verdict(Enum):
    """How one thing stands; only `FAIL` keeps plexbridge from working."""

    OK = "ok"
    FAIL = "FAIL"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    verdict: Verdict
    name: str
    found: str
    cure: str = ""

    def __str__(self) -> str:
        """Return the line as it is printed; a server's own words in it can't break it or steer the terminal."""
        line = f"{self.verdict.value:<4}  {self.name}: {self.found}" + (f" — {self.cure}" if self.cure else "")
        return "".join(char if char.isprintable() else " " for char in line)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The effective configuration without secrets, and what was found."""

    configuration: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def is_ok(self) -> bool:
        """Whether nothing failed."""
        return all(finding.verdict is not Verdict.FAIL for finding in self.findings)

    def lines(self) -> tuple[str, ...]:
        """Return the report as it is printed."""
        return (*self.configuration, "", *(str(finding) for finding in self.findings))


@dataclass(frozen=True, slots=True)
class Library:
    """A library that calls need: `version` names it, or raises LibraryMissing, ImportError or OSError."""

    name: str
    version: Callable[[], str]
    cure: str


def _module_version(module_name: str, library_attribute: str, library: str) -> str:
    module = import_module(module_name)
    return f"{module.__version__}, {library} {getattr(module, library_attribute)}"


LIBRARIES = (
    Library("libopus, libogg, libopusfile", opus.library_version, "install them with the system's packages"),
    Library(
        "soundfile",
        lambda: _module_version("soundfile", "__libsndfile_version__", "libsndfile"),
        "pip install --force-reinstall soundfile; Debian, Ubuntu: apt install libsndfile1",
    ),
    Library(
        "soxr",
        lambda: _module_version("soxr", "__libsoxr_version__", "libsoxr"),
        "pip install --force-reinstall soxr",
    ),
    Library("discord.py", check_library, CURE),
)


async def check(config: Config, *, probe: Probe, libraries: Sequence[Library] = LIBRARIES) -> CheckReport:
    """Return the whole report; every model is probed, one after the other."""
    findings = [Finding(Verdict.OK, "Python", platform.python_version())]
    findings += (_library_finding(library) for library in libraries)
    findings.append(_log_finding(config.log.file))
    findings.append(await _store_finding(config.store))
    if config.recording.enabled:
        findings.append(_recording_finding(config.recording.folder))
    findings.append(await _web_finding(config.web))
    findings.append(await _speech_finding(config.speech))
    findings += _persona_findings(config)
    for model in config.model:
        findings += _address_findings(model, config.persona)
        findings.append(await _answer_finding(model, probe))
    return CheckReport(config.effective(), tuple(findings))


def _library_finding(library: Library) -> Finding:
    try:
        return Finding(Verdict.OK, library.name, library.version())
    except LibraryMissing as error:
        found, _, cure = str(error).partition(". ")  # its text goes on with the packages to install
        return Finding(Verdict.FAIL, library.name, found, cure or library.cure)
    except LibraryUnfit as error:
        return Finding(Verdict.FAIL, library.name, error.user_message)
    except (ImportError, OSError) as error:
        return Finding(Verdict.FAIL, library.name, f"can't be loaded ({error})", library.cure)


def _log_finding(file: Path | None) -> Finding:
    if file is None:
        return Finding(Verdict.OK, "log.file", "standard error")
    if file.exists():
        is_writable = file.is_file() and os.access(file, os.W_OK)
    else:
        is_writable = file.parent.is_dir() and os.access(file.parent, os.W_OK)
    if is_writable:
        return Finding(Verdict.OK, "log.file", str(file))
    return Finding(Verdict.FAIL, "log.file", f"{file} can't be written", "make its folder, or name another file")


def _recording_finding(folder: Path) -> Finding:
    """Return whether recordings can be written; the folder, where it is missing, is made at the first start."""
    nearest = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    if nearest.is_dir() and os.access(nearest, os.W_OK):
        made = "" if nearest == folder else ", will be made at first start"
        return Finding(Verdict.OK, "recording.folder", f"{folder}{made}")
    return Finding(Verdict.FAIL, "recording.folder", f"{folder} can't be written to", "name a folder that can")


async def _store_finding(store: StoreConfig) -> Finding:
    """Return of how many people something is stored."""
    # Only now: it brings SQLAlchemy and Alembic, a third of a second, and the other commands import this module too.
    from plexbridge.store.settings import count_people

    shown = mask_store_url(store.url)
    try:
        people = await count_people(store.url)
    except ConfigError as error:
        found, _, cure = error.faults[0].removeprefix("store.url: found ").rpartition(": ")
        return Finding(Verdict.FAIL, "store.url", found, cure)
    if people is None:
        return Finding(Verdict.OK, "store.url", f"{shown}, will be made at first start")
    return Finding(Verdict.OK, "store.url", f"{shown}, people: {people}")


async def _web_finding(web: WebConfig) -> Finding:
    """Return whether the page's port and certificate can be used, tried for a moment."""
    if not web.enabled:
        return Finding(Verdict.SKIP, "web", "off", "to turn the page on, set web.enabled = true")
    try:
        async with open_door(web) as door:
            address = door.address if web.port else f"a free port of {web.host}"
    except ConfigError as error:
        name, _, rest = error.faults[0].partition(": ")
        if name == "web.port" and await is_healthy(web):
            return Finding(Verdict.OK, "web", f"port {web.port} is in use by a running plexbridge")
        found, _, cure = rest.removeprefix("found ").partition(": ")
        return Finding(Verdict.FAIL, name, found, cure)
    who = "for who has the token" if web.token is not None else "no token, for this machine only"
    return Finding(Verdict.OK, "web", f"page at {address}, {who}")


_SPEECH_CURES = {
    "pocketsphinx": "pip install plexbridge[speech], or correct speech.grammar",
    "sherpa-onnx": "pip install plexbridge[sherpa], or correct speech.folder",
    "openai": "start the server, or correct speech.url, speech.key and speech.model",
    "kyutai": "start the server, or correct speech.url and speech.key",
}


async def _speech_finding(speech: SpeechConfig) -> Finding:
    """Return whether the speech engine works, which is tried; a server gets a second of silence."""
    if speech.engine == "none":
        return Finding(Verdict.OK, "speech.engine", "none: nothing is transcribed")
    where = f" at {mask_url(speech.url)}" if speech.url else ""
    try:
        async with open_engine(speech) as engine:
            found = await prove(engine)
    except ConfigError as error:
        return Finding(Verdict.FAIL, "speech.engine", f"{speech.engine}{where}: {error}")
    except SpeechError as error:
        return Finding(Verdict.FAIL, "speech.engine", f"{speech.engine}{where}: {error}", _SPEECH_CURES[speech.engine])
    return Finding(Verdict.OK, "speech.engine", f"{speech.engine}{where}: {found}")


def _persona_findings(config: Config) -> Iterator[Finding]:
    """Yield whether the voice may exist, and how long the prompt is; other dialects than Moshi's take both."""
    if all(model.dialect == "moshi" for model in config.model):
        yield Finding(Verdict.SKIP, "persona", "not used: the moshi dialect takes neither voice nor prompt")
        return
    voice = config.persona.voice
    if voice in VOICES:
        yield Finding(Verdict.OK, "persona.voice", f"{voice}, which comes with PersonaPlex")
    else:
        cure = "see that the file is in the server's voice folder"
        yield Finding(Verdict.OK, "persona.voice", f"{voice}, your own: only the server knows whether it exists", cure)
    words = len(config.persona.prompt.split())
    yield Finding(Verdict.OK, "persona.prompt", f"{len(config.persona.prompt)} characters, {words} words")


def _address_findings(model: ModelConfig, persona: PersonaConfig) -> Iterator[Finding]:
    """Yield what is known of a model without asking it: its address, its certificates, whether the persona fits."""
    name = f"model {model.name}"
    if model.dialect == "loopback":
        yield Finding(Verdict.OK, f"{name} address", "none: it comes with plexbridge and starts with each use")
        return
    yield _safety_finding(model)
    if model.ca_file is not None:
        yield _ca_file_finding(f"{name} ca_file", model.ca_file)
    try:
        build_request(dialect=model.dialect, url=model.url, voice=persona.voice, prompt=persona.prompt)
    except RequestError as error:
        yield Finding(Verdict.FAIL, f"{name} persona", error.user_message, "shorten persona.prompt or the model's url")


def _safety_finding(model: ModelConfig) -> Finding:
    """Return the model's address, and what an operator should know who sends speech there."""
    name, shown = f"model {model.name} address", f"{model.address} ({model.dialect})"
    address = parse_address(model.url, dialect=model.dialect)
    if is_loopback(address.host) or (address.is_tls and model.verify):
        return Finding(Verdict.OK, name, shown)
    if address.is_tls:
        cure = "name the server's certificate in ca_file and remove verify = false"
        return Finding(Verdict.OK, name, f"{shown}; not verified: anyone on the way can pose as the server", cure)
    cure = "use wss:// if the network is not yours alone"
    return Finding(Verdict.OK, name, f"{shown}; not encrypted: anyone on the way can listen", cure)


def _ca_file_finding(name: str, ca_file: Path) -> Finding:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    cure = "name a file with the server's certificate, or its authority's, in PEM form"
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        return Finding(Verdict.FAIL, name, f"{ca_file} holds no certificate", cure)
    except OSError as error:
        return Finding(Verdict.FAIL, name, f"{ca_file} can't be read ({error.strerror})", cure)
    return Finding(Verdict.OK, name, f"{ca_file}, certificates: {context.cert_store_stats()['x509']}")


_CURES: tuple[tuple[type[PlexbridgeError], str], ...] = (
    (ModelUnreachable, "start the server, or correct the model's url"),
    (ModelUntrusted, "wss:// if the server uses TLS, else ws://; for a certificate of your own set ca_file"),
    (ModelRefused, "see that the server has the voice, and look into its log"),
    (PlexbridgeError, 'look into the server\'s log, and into ours with log.level = "debug"'),
)


async def _answer_finding(model: ModelConfig, probe: Probe) -> Finding:
    """Return whether the model shakes hands; one that is in use is left alone."""
    name = f"model {model.name} answers"
    try:
        result = await probe(model)
    except PlexbridgeError as error:
        result = error
    if not isinstance(result, PlexbridgeError):
        return Finding(Verdict.OK, name, f"ready after {result:.1f} s")
    if isinstance(result, ModelBusy):
        return Finding(Verdict.SKIP, name, f"in use, not tried ({result})", "try again when its call has ended")
    if isinstance(result, ConfigError | RequestError):
        return Finding(Verdict.FAIL, name, str(result), "correct the configuration")
    cure = next(cure for kind, cure in _CURES if isinstance(result, kind))
    return Finding(Verdict.FAIL, name, f"{result.user_message} ({result})", cure)
