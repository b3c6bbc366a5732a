"""The report of `plexbridge check`: what each line finds, and the cure that it names."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from pydantic import SecretStr

from plexbridge.check import CheckReport, Finding, Library, Probe, Verdict, check
from plexbridge.config import (
    Config,
    LogConfig,
    ModelConfig,
    PersonaConfig,
    RecordingConfig,
    StoreConfig,
    WebConfig,
)
from plexbridge.errors import (
    ConfigError,
    LibraryMissing,
    LibraryUnfit,
    LinkError,
    ModelBusy,
    ModelRefused,
    ModelUnreachable,
    ModelUntrusted,
    PlexbridgeError,
    RequestError,
)
from plexbridge.people.web.door import open_door
from plexbridge.store.settings import open_store

URL = "wss://gpu.example:8998/api/chat"


async def answering(model: ModelConfig) -> float | PlexbridgeError:
    return 1.23


def probe_returning(result: PlexbridgeError) -> Probe:
    async def probe(model: ModelConfig) -> float | PlexbridgeError:
        return result

    return probe


def probe_raising(error: PlexbridgeError) -> Probe:
    async def probe(model: ModelConfig) -> float | PlexbridgeError:
        raise error

    return probe


def line(report: CheckReport, name: str) -> str:
    (found,) = (str(finding) for finding in report.findings if finding.name == name)
    return found


async def line_for(model: ModelConfig, name: str, *, probe: Probe = answering) -> str:
    return line(await check(Config(model=(model,)), probe=probe), f"model {model.name} {name}")


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_the_defaults_are_all_well_and_each_thing_has_its_line() -> None:
    report = await check(Config(web=WebConfig(port=0)), probe=answering)

    assert report.is_ok
    assert [finding.name for finding in report.findings] == [
        "Python",
        "libopus, libogg, libopusfile",
        "soundfile",
        "soxr",
        "discord.py",
        "log.file",
        "store.url",
        "web",
        "speech.engine",
        "persona.voice",
        "persona.prompt",
        "model loopback address",
        "model loopback answers",
    ]
    assert {finding.verdict for finding in report.findings} == {Verdict.OK}
    assert line(report, "libopus, libogg, libopusfile").startswith("ok    libopus, libogg, libopusfile: libopus ")
    assert "libsndfile 1." in line(report, "soundfile")
    assert "libsoxr 0." in line(report, "soxr")
    assert line(report, "log.file") == "ok    log.file: standard error"
    assert line(report, "persona.voice") == "ok    persona.voice: NATF0, which comes with PersonaPlex"
    assert line(report, "speech.engine") == "ok    speech.engine: none: nothing is transcribed"
    assert line(report, "model loopback answers") == "ok    model loopback answers: ready after 1.2 s"


async def test_the_effective_configuration_comes_first_then_one_line_for_each_finding() -> None:
    config = Config()

    report = await check(config, probe=answering)

    count = len(config.effective())
    assert report.lines()[:count] == config.effective()
    assert report.lines()[count] == ""
    assert report.lines()[count + 1 :] == tuple(str(finding) for finding in report.findings)


async def test_no_secret_is_in_the_report() -> None:
    model = ModelConfig(name="a", url=f"{URL}?token=sesame")
    config = Config(model=(model,), persona=PersonaConfig(prompt="sesame prompt"))

    report = await check(config, probe=answering)

    assert "sesame" not in "\n".join(report.lines())
    assert f"{URL}?token=***" in line(report, "model a address")


def test_a_line_has_verdict_name_finding_and_cure() -> None:
    assert str(Finding(Verdict.FAIL, "disk", "full", "delete something")) == "FAIL  disk: full — delete something"
    assert str(Finding(Verdict.SKIP, "disk", "none")) == "skip  disk: none"


def test_a_line_stays_one_line_and_can_not_command_the_terminal() -> None:
    text = str(Finding(Verdict.FAIL, "model", "it says\nok\x1b[31m"))

    assert text == "FAIL  model: it says ok [31m"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            LibraryMissing("not found: libogg. Debian: apt install libogg0."),
            "FAIL  audio: not found: libogg — Debian: apt install libogg0.",
        ),
        (LibraryMissing("not found"), "FAIL  audio: not found — install it"),
        (LibraryUnfit("Another library has its name."), "FAIL  audio: Another library has its name."),
        (ImportError("no such module"), "FAIL  audio: can't be loaded (no such module) — install it"),
        (OSError("no such file"), "FAIL  audio: can't be loaded (no such file) — install it"),
    ],
)
async def test_a_missing_library_is_named_with_how_to_get_it(error: Exception, text: str) -> None:
    def version() -> str:
        raise error

    report = await check(Config(), probe=answering, libraries=[Library("audio", version, "install it")])

    assert line(report, "audio") == text
    assert not report.is_ok


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("new.log", "ok"), ("old.log", "ok"), ("none/a.log", "FAIL"), ("old.log/a.log", "FAIL"), ("folder", "FAIL")],
)
async def test_the_log_file_is_tried_without_being_made(name: str, verdict: str, tmp_path: Path) -> None:
    (tmp_path / "old.log").write_text("old")
    (tmp_path / "folder").mkdir()
    before = names_in(tmp_path)

    report = await check(Config(log=LogConfig(file=tmp_path / name)), probe=answering)

    assert line(report, "log.file").startswith(f"{verdict:<4}  log.file: {tmp_path / name}")
    assert names_in(tmp_path) == before


async def line_for_store(url: str) -> str:
    return line(await check(Config(store=StoreConfig(url=url)), probe=answering), "store.url")


async def test_a_store_that_is_not_there_yet_is_well_and_is_not_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"

    assert await line_for_store(url) == f"ok    store.url: {url}, will be made at first start"
    assert names_in(tmp_path) == set()


async def test_the_people_in_the_store_are_counted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    async with open_store(url) as store:
        await store.set_voice("discord:1", "NATM1")
        await store.set_prompt("discord:2", "sesame")

    assert await line_for_store(url) == f"ok    store.url: {url}, people: 2"
    assert names_in(tmp_path) == {"a.db"}


@pytest.mark.parametrize(
    ("name", "found", "cure"),
    [
        ("none/a.db", 'no folder "{folder}/none", expected one', "make it, or name another place"),
        ("folder", 'something that is no file at "sqlite:///{folder}/folder"', "name another place"),
        ("other", 'a damaged database, or none of SQLite at "sqlite:///{folder}/other"', "restore it, or move it away"),
    ],
)
async def test_a_store_that_can_not_be_used_fails_with_the_cure(
    name: str, found: str, cure: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").write_text("no database " * 100)
    before = names_in(tmp_path)

    text = await line_for_store(f"sqlite:///{tmp_path}/{name}")

    assert text.startswith(f"FAIL  store.url: {found.format(folder=tmp_path)}")
    assert text.partition(" — ")[2].startswith(cure)
    assert names_in(tmp_path) == before


async def test_the_password_of_the_store_is_not_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    config = Config(store=StoreConfig(url="postgresql+psycopg://me:sesame@host/db"))

    report = await check(config, probe=answering)

    assert "sesame" not in "\n".join(report.lines())
    assert line(report, "store.url") == (
        'FAIL  store.url: PostgreSQL without its driver at "postgresql+psycopg://***@host/db", expected psycopg — '
        'pip install "psycopg[binary]"'
    )


def test_what_the_store_needs_is_imported_by_the_look_into_it_only() -> None:
    script = "import sys, plexbridge.check; sys.exit('sqlalchemy' in sys.modules or 'alembic' in sys.modules)"

    subprocess.run([sys.executable, "-c", script], check=True)


async def line_for_web(web: WebConfig) -> str:
    (found,) = (str(each) for each in (await check(Config(web=web), probe=answering)).findings if "web" in each.name)
    return found


async def test_the_page_is_told_with_its_address_and_who_may_use_it() -> None:
    async with open_door(WebConfig(port=0)) as door:
        port = int(door.address.rpartition(":")[2].strip("/"))

    assert await line_for_web(WebConfig(port=port)) == (
        f"ok    web: page at http://127.0.0.1:{port}/, no token, for this machine only"
    )
    assert await line_for_web(WebConfig(port=port, token=SecretStr("0123456789abcdef"))) == (
        f"ok    web: page at http://127.0.0.1:{port}/, for who has the token"
    )
    assert await line_for_web(WebConfig(enabled=False)) == (
        "skip  web: off — to turn the page on, set web.enabled = true"
    )


async def test_a_port_in_use_fails_with_what_to_do() -> None:
    async with open_door(WebConfig(port=0)) as door:
        port = int(door.address.rpartition(":")[2].strip("/"))

        line = await line_for_web(WebConfig(port=port))

    assert line == (
        f"FAIL  web.port: {port}, expected a free port, as this one is in use — "
        "stop the other program or set another port, 0 for any"
    )


@pytest.mark.parametrize(("answer", "is_ours"), [(b"ok", True), (b"hello", False)])
async def test_a_port_that_a_running_plexbridge_answers_at_is_fine(
    answer: bytes, is_ours: bool, nursery: trio.Nursery
) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))

    async with open_door(WebConfig(port=0)) as door:
        port = int(door.address.rpartition(":")[2].strip("/"))
        nursery.start_soon(partial(trio.serve_listeners, serve, list(door.listeners)))

        line = await line_for_web(WebConfig(port=port))

    assert line.startswith("FAIL" if not is_ours else f"ok    web: port {port} is in use by a running plexbridge")


async def test_a_certificate_that_can_not_be_read_fails(tmp_path: Path) -> None:
    path = tmp_path / "none.pem"

    line = await line_for_web(WebConfig(port=0, certificate=path, key=path))

    assert line == f'FAIL  web.certificate: "{path}", expected a file that can be read (No such file or directory)'


async def test_a_voice_of_the_operator_is_left_to_the_server() -> None:
    report = await check(Config(persona=PersonaConfig(voice="mine.pt")), probe=answering)

    assert "mine.pt, your own: only the server knows" in line(report, "persona.voice")


async def test_a_prompt_is_told_by_its_length_only() -> None:
    report = await check(Config(persona=PersonaConfig(prompt="a wise old owl")), probe=answering)

    assert line(report, "persona.prompt") == "ok    persona.prompt: 14 characters, 4 words"


async def test_the_persona_is_skipped_where_no_model_takes_one() -> None:
    moshi = ModelConfig(dialect="moshi", url=URL)

    report = await check(Config(model=(moshi,)), probe=answering)

    assert line(report, "persona").startswith("skip  persona: not used")
    assert not any(finding.name.startswith("persona.") for finding in report.findings)


async def test_a_prompt_that_is_too_long_together_with_the_address_fails() -> None:
    model = ModelConfig(name="a", url=f"wss://gpu/{'x' * 1_500}")
    persona = PersonaConfig(prompt="x" * 7_000)

    report = await check(Config(model=(model,), persona=persona), probe=answering)

    assert line(report, "model a persona").startswith("FAIL  model a persona: The persona text is too long")


@pytest.mark.parametrize(
    ("model", "warning"),
    [
        (ModelConfig(name="a", url="ws://gpu/api"), "not encrypted"),
        (ModelConfig(name="a", url="wss://gpu/api", verify=False), "not verified"),
        (ModelConfig(name="a", url="ws://192.0.2.1/api"), "not encrypted"),
    ],
)
async def test_an_address_that_others_can_listen_at_is_told_so(model: ModelConfig, warning: str) -> None:
    text = await line_for(model, "address")

    assert text.startswith(f"ok    model a address: {model.url} (personaplex); {warning}")
    assert " — " in text


@pytest.mark.parametrize(
    "model",
    [
        ModelConfig(name="a", url="wss://gpu/api"),
        ModelConfig(name="a", url="ws://LOCALHOST:8998/api"),
        ModelConfig(name="a", url="ws://127.0.0.1:8998/api"),
        ModelConfig(name="a", url="wss://[::1]:8998/api", verify=False),
    ],
)
async def test_an_address_that_nobody_can_listen_at_needs_no_word(model: ModelConfig) -> None:
    assert await line_for(model, "address") == f"ok    model a address: {model.url} (personaplex)"


async def test_certificates_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(trustme.CA().cert_pem.bytes() + trustme.CA().cert_pem.bytes())

    text = await line_for(ModelConfig(name="a", url=URL, ca_file=path), "ca_file")

    assert text == f"ok    model a ca_file: {path}, certificates: 2"


@pytest.mark.parametrize(
    ("content", "finding"),
    [(None, "can't be read (No such file or directory)"), ("", "holds no certificate"), ("x", "holds no certificate")],
)
async def test_a_ca_file_that_can_not_be_used_fails(content: str | None, finding: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)

    text = await line_for(ModelConfig(name="a", url=URL, ca_file=path), "ca_file")

    assert text.startswith(f"FAIL  model a ca_file: {path} {finding} — ")


async def test_each_model_is_probed_once_in_order() -> None:
    models = (ModelConfig(name="a", url=URL), ModelConfig(dialect="loopback"))
    probed = []

    async def probe(model: ModelConfig) -> float | PlexbridgeError:
        probed.append(model)
        return 0.5

    await check(Config(model=models), probe=probe)

    assert probed == list(models)


@pytest.mark.parametrize("make_probe", [probe_returning, probe_raising])
async def test_a_model_in_use_is_skipped_and_is_no_failure(make_probe: Callable[[PlexbridgeError], Probe]) -> None:
    probe = make_probe(ModelBusy("taken on this host"))

    report = await check(Config(web=WebConfig(port=0)), probe=probe)

    assert line(report, "model loopback answers") == (
        "skip  model loopback answers: in use, not tried (taken on this host) — try again when its call has ended"
    )
    assert report.is_ok


@pytest.mark.parametrize(
    ("error", "found", "cure"),
    [
        (
            ModelUnreachable("refused"),
            "The speech model can't be reached. Please try again later. (refused)",
            "start the server",
        ),
        (ModelUntrusted("unknown certificate"), f"{ModelUntrusted.user_message} (unknown certificate)", "wss://"),
        (ModelRefused("1006"), f"{ModelRefused.user_message} (1006)", "voice"),
        (LinkError("odd"), f"{LinkError.user_message} (odd)", "log"),
        (PlexbridgeError("ValueError"), f"{PlexbridgeError.user_message} (ValueError)", "log"),
        (ConfigError(("lock: can't be used", "x")), "lock: can't be used x", "configuration"),
        (RequestError("No such voice."), "No such voice.", "configuration"),
    ],
)
async def test_a_model_that_does_not_answer_fails_with_the_cause_and_a_cure(
    error: PlexbridgeError, found: str, cure: str
) -> None:
    for probe in (probe_returning(error), probe_raising(error)):
        report = await check(Config(), probe=probe)

        text = line(report, "model loopback answers")
        assert text.startswith(f"FAIL  model loopback answers: {found} — ")
        assert cure in text.partition(" — ")[2]
        assert not report.is_ok


async def test_where_recording_is_allowed_its_folder_is_looked_at_and_not_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    async def found(folder: Path, *, enabled: bool = True) -> list[str]:
        report = await check(Config(recording=RecordingConfig(enabled=enabled, folder=folder)), probe=answering)
        return [str(finding) for finding in report.findings if finding.name == "recording.folder"]

    assert await found(tmp_path / "new", enabled=False) == []
    assert await found(tmp_path) == [f"ok    recording.folder: {tmp_path}"]
    assert await found(tmp_path / "a" / "b") == [f"ok    recording.folder: {tmp_path}/a/b, will be made at first start"]
    assert await found(tmp_path / "file" / "a") == [
        f"FAIL  recording.folder: {tmp_path}/file/a can't be written to — name a folder that can"
    ]
    assert names_in(tmp_path) == {"file"}
