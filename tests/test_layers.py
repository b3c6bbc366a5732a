"""The direction of imports: a module knows its own layer and those below it, and the pure ones know no clock.

Every module has its place in `LAYERS`; a new one fails here until it is given one. What a module imports is read from
its source, wherever in the file it stands, so an import inside a function or for type checking counts too.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "plexbridge"


@dataclass(frozen=True)
class Layer:
    """Modules, named from the package on, that may import each other and all layers before theirs."""

    name: str
    modules: frozenset[str]
    forbidden: frozenset[str] = frozenset()
    """Libraries that nothing here may import."""


def layer(name: str, modules: str, forbidden: frozenset[str] = frozenset()) -> Layer:
    return Layer(name, frozenset(modules.split()), forbidden)


WAITING = frozenset(("trio", "asyncio", "discord", "socket", "threading", "time"))
"""What waits, or tells the time: without it a module is values in, values out, and can be tested as such."""
DISCORD = frozenset(("discord",))
"""A conversation serves Discord, the web and a file alike."""

LAYERS = (
    # The package's own name holds its version; errors need nothing else.
    layer("words", "plexbridge errors", WAITING),
    layer(
        "pure cores",
        """
        audio.mark audio.pcm audio.opus audio.opus_packet audio.ogg audio.playout audio.jitter audio.mixer audio.speaker
        audio.vad audio.gate audio.echo audio.hearing
        model.protocol model.conversation model.request model.identity model.text model.voices model.answers
        audio.pcm16
        model.health model.placement model.standing model.turns
        recording.index recording.track
        session.ledger session.people session.retry session.takeover
        session.renewal session.recap session.response session.tap
        people.discord.attendance people.discord.attention people.discord.idleness
        people.discord.captions people.discord.inbox people.discord.spurts
        people.discord.rtp people.discord.stream people.discord.receiver
        people.discord.asking people.discord.deafness people.discord.endings people.discord.muteness
        people.discord.status
        people.web.messages people.web.lateness people.web.allowance people.web.levels people.web.floor
        people.web.access people.web.frames people.web.pace
        speech.engine speech.utterances speech.sentences speech.transcript speech.formats speech.frames
        speech.kyutai_protocol
        store.address
        """,  # session.people states protocols and values only: what stages ask of an edge
        WAITING,
    ),
    # Settings are words, but they are checked by the rules of the cores (voices, addresses, query length), and so stand
    # above them. No core may read a setting: it is handed values. Nor does a core log: whoever feeds it may, and
    # assembly tells the log which session is running and which words must not appear.
    layer("settings and logs", "config config_source config_faults logs", WAITING),
    layer(
        "stages",
        """
        session.beat session.handover session.relayed
        session.capture session.encode session.exchange session.link session.playback
        recording.files recording.keeping recording.recorder
        speech.sound speech.line speech.transcriber
        """,
        DISCORD,
    ),
    layer(
        "assembly",
        "session.session session.outage model.loopback model.lock model.pool model.ticket service leg relay talk",
        DISCORD,
    ),
    layer(
        "edges",
        """
        people.wav people.discord.portal people.discord.library
        people.discord.internals people.discord.internals.patches people.discord.internals.states
        people.discord.internals.link
        people.discord.line people.discord.personas people.discord.voice people.discord.chat
        people.discord.waiting people.discord.room people.discord.rooms
        people.discord.media
        people.discord.notice people.discord.bot people.discord.front
        people.discord.commands people.discord.listening people.discord.replies
        people.discord.slash
        people.discord.board people.discord.audience people.discord.audiences people.discord.recordings
        people.web.downlink people.web.mirror people.web.voice people.web.visit people.web.client
        people.web.door people.web.files people.web.front people.web.http people.web.server people.web.upgrade
        store.faults store.schema store.file store.revision store.database store.settings
        store.migrations.env store.migrations.versions.r0001_person_settings
        store.migrations.versions.r0002_servers store.migrations.versions.r0003_recorded_servers
        speech.decoders speech.worker speech.embedded speech.openai speech.kyutai speech.engines
        screen check call transcribe run cli __main__
        """,
    ),
)
RANKS = {module: rank for rank, each in enumerate(LAYERS) for module in each.modules}

PORTAL = "people.discord.portal"
"""The only crossing between Trio and Discord's event loop."""


def imports(source: str, module: str, *, is_package: bool) -> Iterator[str]:
    """Yield the full names of all that `source` imports: modules, and the names that are taken from them."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def faults(sources: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the imports of `sources`: paths from the package on, with the text of each file."""
    texts = {path: text for path, text in sources.items() if text.strip() or not path.endswith("/__init__.py")}
    names = {path: _module_name(path) for path in texts}
    found: list[str] = []
    for path, text in texts.items():
        name = names[path]
        if name not in RANKS:
            found.append(f"{name} is in no layer")
            continue
        full_name = "plexbridge" if name == "plexbridge" else f"plexbridge.{name}"
        imported = set(imports(text, full_name, is_package=path.endswith("__init__.py")))
        libraries = {one.partition(".")[0] for one in imported}
        forbidden = LAYERS[RANKS[name]].forbidden
        found += [f"{name} imports {library}" for library in sorted(libraries & forbidden)]
        if libraries >= {"asyncio", "trio"} and name != PORTAL:
            found.append(f"{name} imports both asyncio and trio")
        ours = {_known(one) for one in imported if one.partition(".")[0] == "plexbridge"}
        found += [f"{name} imports {other}" for other in sorted(ours) if RANKS.get(other, 99) > RANKS[name]]
    return found


def _module_name(path: str) -> str:
    name = path.removesuffix(".py").replace("/", ".")
    return "plexbridge" if name == "__init__" else name.removesuffix(".__init__")


def _known(imported: str) -> str:
    """Return the module of ours that an import names, from the package on: what is no module is a name in one."""
    name = imported.removeprefix("plexbridge").lstrip(".")
    while name and name not in RANKS:
        name = name.rpartition(".")[0]
    if name:
        return name
    # Either a name in the package itself, or a module that has no layer yet and is reported as such.
    return "plexbridge"


def test_every_module_of_the_package_keeps_to_its_layer() -> None:
    sources = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}

    assert len(sources) > 25
    assert faults(sources) == []


def test_every_module_is_in_one_layer() -> None:
    assert len(RANKS) == sum(len(each.modules) for each in LAYERS)


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("audio/choir.py", "", "audio.choir is in no layer"),
        ("people/discord/__init__.py", "VERSION = 1", "people.discord is in no layer"),
        ("errors.py", "from plexbridge.audio.pcm import Samples", "errors imports audio.pcm"),
        ("audio/pcm.py", "from plexbridge import config", "audio.pcm imports config"),
        ("audio/pcm.py", "import plexbridge.config as settings", "audio.pcm imports config"),
        ("audio/pcm.py", "from ..session import beat", "audio.pcm imports session.beat"),
        ("audio/pcm.py", "from ..session.beat import Beat", "audio.pcm imports session.beat"),
        ("model/request.py", "from .loopback import PATH", "model.request imports model.loopback"),
        ("config.py", "def load():\n    from plexbridge.service import Backend", "config imports service"),
        (
            "session/encode.py",
            "if TYPE_CHECKING:\n    from plexbridge.people.wav import WavPeople",
            "session.encode imports people.wav",
        ),
        ("service.py", "from plexbridge.screen import meter", "service imports screen"),
        ("session/ledger.py", "from plexbridge.logs import redact", "session.ledger imports logs"),
        ("__init__.py", "from plexbridge.cli import main", "plexbridge imports cli"),
        ("audio/ogg.py", "import time", "audio.ogg imports time"),
        ("audio/ogg.py", "import time as clock", "audio.ogg imports time"),
        ("session/ledger.py", "from trio import current_time", "session.ledger imports trio"),
        ("session/people.py", "from trio.lowlevel import checkpoint", "session.people imports trio"),
        ("model/protocol.py", "def f():\n    import socket", "model.protocol imports socket"),
        ("config_source.py", "import threading", "config_source imports threading"),
        ("session/link.py", "import discord", "session.link imports discord"),
        ("service.py", "from discord.ext import commands", "service imports discord"),
        ("people/wav.py", "import asyncio\nimport trio", "people.wav imports both asyncio and trio"),
        ("cli.py", "import asyncio.events\nfrom trio import run", "cli imports both asyncio and trio"),
    ],
)
def test_an_import_against_the_direction_is_a_fault(path: str, source: str, fault: str) -> None:
    assert faults({path: source}) == [fault]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("audio/__init__.py", ""),
        ("audio/playout.py", "import numpy\nfrom plexbridge.audio.opus import Decoder\nfrom .pcm import Samples"),
        ("session/link.py", "import trio\nfrom socket import SO_LINGER\nfrom plexbridge.errors import LinkError"),
        ("service.py", "from plexbridge import __version__\nfrom plexbridge.session import session"),
        ("people/discord/portal.py", "import asyncio\nimport trio"),
        ("cli.py", "import trio\nimport discord\nfrom . import screen"),
    ],
)
def test_imports_along_the_direction_are_none(path: str, source: str) -> None:
    assert faults({path: source}) == []
