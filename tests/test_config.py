"""`load`: what each key of the configuration takes, and that its faults are named together, in plain words."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from plexbridge.config import (
    DEFAULT_PROMPT,
    SPEECH_KEYS,
    Config,
    EngineName,
    ModelConfig,
    PersonaConfig,
    RecordingConfig,
    SpeechConfig,
    StoreConfig,
    load,
    mask_url,
)
from plexbridge.errors import ConfigError, RequestError

SHIPPED = Path(__file__).parents[1] / "config.toml"

GPU = 'url = "wss://gpu.example:8998/api/chat"\n'
OTHER_GPU = 'url = "wss://gpu-2.example:8998/api/chat"\n'
ADVICE = 'such as ws://localhost:8998/api/chat, or dialect = "loopback"'


@pytest.fixture(autouse=True)
def _empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def load_text(text: str, **environ: str) -> Config:
    path = Path("test.toml")
    path.write_text(text, encoding="utf-8")
    return load(path, environ)


def faults_of(text: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, **environ)
    return caught.value.faults


def speech_text(engine: str, values: Mapping[str, object]) -> str:
    lines = (f"{key} = {json.dumps(value)}" for key, value in values.items())
    return "\n".join(["[speech]", f'engine = "{engine}"', *lines])


def keys_of(section: str) -> set[str]:
    table = getattr(Config(), section)
    return set(type(table[0] if section == "model" else table).model_fields)


def test_without_a_file_and_environment_everything_has_its_default_and_the_model_is_the_embedded_loopback() -> None:
    config = load(None, {})

    assert config == Config()
    assert [(model.name, model.dialect, model.url) for model in config.model] == [("loopback", "loopback", "")]
    assert (config.persona.voice, config.persona.prompt) == ("NATF0", DEFAULT_PROMPT)
    assert config.hearing.noise_gate
    assert (config.audio.playout_min_ms, config.audio.playout_max_ms, config.audio.bitrate) == (20, 120, 96_000)
    assert (config.log.level, config.log.format, config.log.file) == ("info", "text", None)


def test_a_model_has_the_defaults_of_a_personaplex_server() -> None:
    (model,) = load_text("[[model]]\n" + GPU).model

    assert (model.dialect, model.name, model.ca_file, model.verify) == ("personaplex", "personaplex", None, True)
    assert (model.sessions, model.handshake_seconds, model.limit_seconds) == (1, 60.0, None)


def test_every_key_of_a_model_is_taken_from_the_file() -> None:
    (model,) = load_text(
        '[[model]]\nname = "big one"\ndialect = "moshi"\nurl = "wss://gpu:8998/api/chat"\nca_file = "/ca.pem"\n'
        "sessions = 2\nhandshake_seconds = 5\nlimit_seconds = 300.5\n"
    ).model

    assert (model.name, model.dialect, model.url) == ("big one", "moshi", "wss://gpu:8998/api/chat")
    assert (model.ca_file, model.sessions) == (Path("/ca.pem"), 2)
    assert (model.handshake_seconds, model.limit_seconds) == (5.0, 300.5)


@pytest.mark.parametrize(
    ("keys", "seconds"),
    [
        (GPU, 220.0),
        (GPU + 'dialect = "moshi"\n', 330.0),
        ('dialect = "loopback"\n', None),
        (GPU + "renew_seconds = 100\n", 100.0),
        ('dialect = "loopback"\nrenew_seconds = 4\n', 4.0),
    ],
)
def test_links_are_renewed_after_a_time_that_depends_on_the_dialect_unless_it_is_set(
    keys: str, seconds: float | None
) -> None:
    (model,) = load_text("[[model]]\n" + keys).model

    assert model.renew_seconds == seconds


def test_a_renewal_is_marked_by_a_sound_and_without_a_recap_unless_somebody_wants_it() -> None:
    changed = load_text('[renewal]\nmark = "sentence"\nrecap = true\n').renewal

    assert (Config().renewal.mark, Config().renewal.recap) == ("sound", False)
    assert (changed.mark, changed.recap) == ("sentence", True)
    assert faults_of('[renewal]\nmark = "beep"\n') == (
        'renewal.mark: found "beep", expected one of "sound", "sentence", "none"',
    )


def test_an_unknown_dialect_is_one_fault_though_defaults_depend_on_it() -> None:
    assert len(faults_of("[[model]]\n" + GPU + 'dialect = "morse"\n')) == 1


@pytest.mark.parametrize("seconds", ["0.1", "1", "86400"])
def test_a_time_span_may_be_a_fraction_of_a_second_or_a_day(seconds: str) -> None:
    (model,) = load_text(f"[[model]]\n{GPU}limit_seconds = {seconds}\nhandshake_seconds = {seconds}\n").model

    assert model.limit_seconds == model.handshake_seconds == float(seconds)


def test_discord_is_off_without_a_token_and_its_lists_come_from_the_file_or_with_commas_from_the_environment() -> None:
    from_file = load_text("[discord]\nguilds = [1, 22]\nchannels = []\ntext_channel = 7\nauto_join = false\n").discord
    from_environment = load(
        None, {"PLEXBRIDGE_DISCORD_TOKEN": "secret-token", "PLEXBRIDGE_DISCORD_CHANNELS": "123456789012345678, 2"}
    )

    assert Config().discord.token is None
    assert (from_file.guilds, from_file.channels, from_file.text_channel) == ((1, 22), (), 7)
    assert (from_file.auto_join, Config().discord.auto_join) == (False, True)
    assert from_environment.discord.channels == (123456789012345678, 2)
    assert from_environment.discord.token is not None
    assert from_environment.discord.token.get_secret_value() == "secret-token"
    assert "secret-token" in from_environment.private_texts()
    assert "secret-token" not in repr(from_environment) + "\n".join(from_environment.effective())
    assert any(line.startswith("channels = [123456789012345678, 2]") for line in from_environment.effective())


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('guilds = ["x"]', "discord.guilds: found a list, expected a list of ids, such as [123456789012345678]"),
        ("channels = [0]", "discord.channels: found a list, expected a list of ids, such as [123456789012345678]"),
        ("guilds = true", "discord.guilds: found true, expected a list of ids, such as [123456789012345678]"),
        ("text_channel = 0", "discord.text_channel: found 0, expected the id of a channel"),
        ('token = "two words"', 'discord.token: found "***", expected the bot\'s token, without blanks'),
        ('api_base = "https://x/api/v9"', 'discord.api_base: found "https://x/api/v9", expected an address that ends'),
        ('gateway = "https://x/"', 'discord.gateway: found "https://x/", expected an address that begins with wss://'),
        ('proxy = "nowhere"', 'discord.proxy: found "nowhere", expected the address of an HTTP proxy, such as'),
        ('proxy = "http://[x"', 'discord.proxy: found "http://[x", expected the address of an HTTP proxy, such as'),
        ('proxy = "http://a:b@"', 'discord.proxy: found "http://***@", expected the address of an HTTP proxy, such as'),
    ],
)
def test_what_discord_can_not_use_is_named(line: str, fault: str) -> None:
    (found,) = faults_of(f"[discord]\n{line}\n")

    assert found.startswith(fault)


TOKEN = "0123456789abcdef"


def test_the_page_is_on_at_this_machine_only_unless_that_is_changed() -> None:
    web = Config().web
    changed = load_text(
        '[web]\nenabled = false\nhost = "::1"\nport = 0\ncertificate = "cert.pem"\nkey = "/key.pem"\nclients = 1\n'
    ).web

    assert (web.enabled, web.host, web.port, web.token, web.origins) == (True, "127.0.0.1", 8080, None, ())
    assert (web.certificate, web.key, web.tls_proxy, web.clients) == (None, None, False, 64)
    assert (changed.enabled, changed.host, changed.port, changed.clients) == (False, "::1", 0, 1)
    assert (changed.certificate, changed.key) == (Path("cert.pem").absolute(), Path("/key.pem"))


def test_the_token_of_the_page_is_a_secret() -> None:
    config = load(None, {"PLEXBRIDGE_WEB_TOKEN": TOKEN})

    assert config.web.token is not None
    assert config.web.token.get_secret_value() == TOKEN
    assert TOKEN in config.private_texts()
    assert TOKEN not in repr(config) + "\n".join(config.effective())


def test_origins_come_from_the_file_or_with_commas_from_the_environment_and_are_shown() -> None:
    from_file = load_text('[web]\norigins = ["https://a.example", "http://[::1]:8080"]\n')
    from_environment = load(None, {"PLEXBRIDGE_WEB_ORIGINS": "https://a.example, http://[::1]:8080"})

    assert from_file.web.origins == from_environment.web.origins == ("https://a.example", "http://[::1]:8080")
    assert 'origins = ["https://a.example", "http://[::1]:8080"]  # file' in from_file.effective()
    assert load_text("\n".join(from_file.effective())).web == from_file.web


@pytest.mark.parametrize(
    "origin", ["voice.example", "https://", "ftp://a", "https://a/", "https://a:x", "null", "*", "https://a b"]
)
def test_what_is_no_origin_is_named(origin: str) -> None:
    assert faults_of(f'[web]\norigins = ["https://fine.example", "{origin}"]\n') == (
        'web.origins: found a list, expected a list of origins without a path, such as ["https://voice.example"]',
    )


@pytest.mark.parametrize("host", ["", "a b", "http://a", "a:b", "[::1]", "127.0.0.1:80", "a/b"])
def test_what_is_no_host_is_named(host: str) -> None:
    (fault,) = faults_of(f'[web]\nhost = "{host}"\n')

    assert fault == f'web.host: found "{host}", expected an address of this machine, such as 127.0.0.1'


@pytest.mark.parametrize(
    "token", ["", "0123456789abcde", "0123456789 abcdef", "0123456789äbcdef", "0123456789abc\\tdef"]
)
def test_a_token_that_is_too_short_or_fits_in_no_header_is_named_but_not_shown(token: str) -> None:
    assert faults_of(f'[web]\ntoken = "{token}"\n') == (
        'web.token: found "***", expected at least 16 characters of ASCII without blanks',
    )


@pytest.mark.parametrize("key", ["certificate", "key"])
def test_a_certificate_and_its_key_belong_together(key: str) -> None:
    (fault,) = faults_of(f'[web]\n{key} = "/file.pem"\n')

    assert fault.startswith("web.key: found ")
    assert fault.endswith(", expected web.certificate and web.key together, or neither")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "voice.example"])
def test_where_others_can_reach_the_page_a_token_and_encryption_are_wanted_both_told_at_once(host: str) -> None:
    token_fault, encryption_fault = faults_of(f'[web]\nhost = "{host}"\n')

    assert token_fault.startswith(f"web.token: found nothing, expected a token, as others can reach {host}: set ")
    assert encryption_fault.startswith(
        f"web.tls_proxy: found nothing, expected encryption, as others can reach {host}: set web.certificate and "
    )


@pytest.mark.parametrize(
    ("keys", "faulty"),
    [
        (f'token = "{TOKEN}"', ["web.tls_proxy"]),
        ("tls_proxy = true", ["web.token"]),
        ('certificate = "c"\nkey = "k"', ["web.token"]),
        (f'token = "{TOKEN}"\ntls_proxy = true', []),
        (f'token = "{TOKEN}"\ncertificate = "c"\nkey = "k"', []),
        ("enabled = false", []),
        (f'token = "{TOKEN}"\ncertificate = "c"', ["web.key"]),
    ],
)
def test_where_others_can_reach_the_page_neither_is_enough_alone(keys: str, faulty: list[str]) -> None:
    text = f'[web]\nhost = "0.0.0.0"\n{keys}\n'

    try:
        faults: tuple[str, ...] = ()
        load_text(text)
    except ConfigError as error:
        faults = error.faults

    assert [fault.partition(":")[0] for fault in faults] == faulty


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_on_this_machine_neither_is_wanted(host: str) -> None:
    assert load_text(f'[web]\nhost = "{host}"\n').web.host == host


def test_a_conversation_has_ten_minutes_while_others_wait_unless_that_is_changed() -> None:
    assert (Config().queue.slot_seconds, Config().queue.place_seconds) == (600.0, 60.0)
    queue = load_text("[queue]\nslot_seconds = 0\nplace_seconds = 5.5\n").queue
    assert (queue.slot_seconds, queue.place_seconds) == (0.0, 5.5)
    assert load(None, {"PLEXBRIDGE_QUEUE_SLOT_SECONDS": "90"}).queue.slot_seconds == 90
    assert faults_of("[queue]\nslot_seconds = -1\nplace_seconds = 0\n") == (
        "queue.slot_seconds: found -1, expected a number of seconds from 0 (no limit) to 86400 (one day)",
        "queue.place_seconds: found 0, expected a number of seconds above 0, at most 86400 (one day)",
    )


def test_everybody_is_listened_to_unless_somebody_chooses_otherwise() -> None:
    assert Config().discord.attention == "everyone"
    assert load_text('[discord]\nattention = "floor"\n').discord.attention == "floor"
    assert load(None, {"PLEXBRIDGE_DISCORD_ATTENTION": "one"}).discord.attention == "one"
    (fault,) = faults_of('[discord]\nattention = "all"\n')
    assert fault.startswith('discord.attention: found "all", expected one of "everyone", "floor", "one"')


def test_a_silent_room_is_left_after_ten_minutes_or_another_time_or_never() -> None:
    assert Config().hearing.idle_minutes == 10
    assert load_text("[hearing]\nidle_minutes = 0\n").hearing.idle_minutes == 0
    assert load(None, {"PLEXBRIDGE_HEARING_IDLE_MINUTES": "90"}).hearing.idle_minutes == 90
    assert faults_of("[hearing]\nidle_minutes = -1\n") == (
        "hearing.idle_minutes: found -1, expected a whole number from 0 to 1440",
    )


def test_commands_with_a_prefix_are_off_unless_somebody_turns_them_on() -> None:
    assert not Config().discord.prefix_commands
    assert load_text("[discord]\nprefix_commands = true\n").discord.prefix_commands
    assert load(None, {"PLEXBRIDGE_DISCORD_PREFIX_COMMANDS": "yes"}).discord.prefix_commands
    assert faults_of('[discord]\nprefix_commands = "!"\n') == (
        'discord.prefix_commands: found "!", expected true or false',
    )


def test_the_file_of_the_store_is_relative_to_the_configuration_or_to_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc" / "test.toml"
    path.write_text('[store]\nurl = "sqlite:///data/people.db"\n')
    variable = {"PLEXBRIDGE_STORE_URL": "sqlite:///other.db"}

    assert load(path, {}).store.url == f"sqlite:///{tmp_path}/etc/data/people.db"
    assert load_text("[store]\n").store.url == f"sqlite:///{tmp_path}/here/plexbridge.db"
    assert load(None, {}).store.url == "sqlite:///plexbridge.db"
    assert load(path, variable).store.url == load(None, variable).store.url == "sqlite:///other.db"


def test_the_folder_of_recordings_is_relative_to_the_configuration_or_to_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc" / "test.toml"
    path.write_text('[recording]\nfolder = "talks"\n')

    assert load(path, {}).recording.folder == tmp_path / "etc" / "talks"
    assert load_text("[recording]\n").recording.folder == tmp_path / "here" / "recordings"
    assert load(None, {}).recording.folder == Path("recordings")
    assert load(path, {"PLEXBRIDGE_RECORDING_FOLDER": "/talks"}).recording.folder == Path("/talks")


def test_where_the_store_is_is_shown_with_where_that_was_said(tmp_path: Path) -> None:
    assert f'url = "sqlite:///{tmp_path}/here/plexbridge.db"  # default' in load_text("").effective()
    assert (
        f'url = "sqlite:///{tmp_path}/here/a@b.db"  # file'
        in load_text('[store]\nurl = "sqlite:///a@b.db"').effective()
    )


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("5", "5"),
        ('"plexbridge.db"', '"plexbridge.db"'),
        ('"sqlite://"', '"sqlite://"'),
        ('"sqlite:///:memory:"', '"sqlite:///:memory:"'),
        ('"mysql://me:sesame@host/db"', '"mysql://***@host/db"'),
        ('"postgresql+psycopg2://me:sesame@host/db"', '"postgresql+psycopg2://***@host/db"'),
        ('"postgresql+psycopg://me:sesame@host"', '"postgresql+psycopg://***@host"'),
        ('"postgresql://me:sesame"', '"postgresql://***"'),
        ('"host=db user=me password=sesame"', '"***"'),
    ],
)
def test_an_address_that_can_be_no_store_is_named_without_its_password(value: str, found: str) -> None:
    assert faults_of(f"[store]\nurl = {value}\n") == (
        f"store.url: found {found}, expected sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE",
    )


def test_the_password_of_the_store_is_shown_nowhere_and_is_a_private_text() -> None:
    url = "postgresql+psycopg://me:open%20sesame@host/db?sslpassword=sesame2"

    config = load_text(f'[store]\nurl = "{url}"\n')

    assert config.store.url == url
    assert config.private_texts()[-3:] == ("open%20sesame", "open sesame", "sesame2")
    assert "sesame" not in repr(config) + "\n".join(config.effective())
    assert 'url = "postgresql+psycopg://***@host/db?***"  # file' in config.effective()
    assert "sesame" not in "".join(faults_of(f'[store]\nurl = "{url}"\nurk = 1\n'))


def test_an_empty_list_of_models_means_the_embedded_loopback() -> None:
    assert load_text("model = []").model == Config().model


def test_a_configuration_is_frozen() -> None:
    config = Config()

    with pytest.raises(ValidationError):
        config.audio.bitrate = 1


def test_config_toml_in_the_working_directory_is_read_without_being_named() -> None:
    Path("config.toml").write_text('[log]\nlevel = "error"\n')

    assert load(None, {}).log.level == "error"


def test_a_named_file_is_read_instead_of_config_toml() -> None:
    Path("config.toml").write_text('[log]\nlevel = "error"\n')

    assert load_text('[log]\nformat = "json"\n').log.level == "info"


def test_the_shipped_file_is_valid_and_changes_nothing() -> None:
    # Only that its paths are relative to its folder.
    store = StoreConfig(url=f"sqlite:///{SHIPPED.parent / 'plexbridge.db'}")
    recording = RecordingConfig(folder=SHIPPED.parent / "recordings")

    assert load(SHIPPED, {}).model_dump() == Config(store=store, recording=recording).model_dump()


def test_the_shipped_file_shows_every_known_key_and_no_other() -> None:
    with_examples = re.sub(r"^# (?=\[\[|\w+ = )", "", SHIPPED.read_text(encoding="utf-8"), flags=re.MULTILINE)
    document = tomllib.loads(with_examples)

    shown = {section: set(table[0] if section == "model" else table) for section, table in document.items()}
    assert shown == {section: keys_of(section) for section in Config.model_fields}


def test_the_examples_in_the_shipped_file_are_valid_and_show_the_defaults(tmp_path: Path) -> None:
    shipped, _, _ = SHIPPED.read_text(encoding="utf-8").partition("[speech]")
    with_examples = re.sub(r"^# (?=\[\[|\w+ = )", "", shipped, flags=re.MULTILINE)

    (model,) = load_text(with_examples).model

    assert model.ca_file == tmp_path / "here" / "ca.pem"
    default = ModelConfig(url=model.url, ca_file=model.ca_file, limit_seconds=model.limit_seconds)
    assert model == default


@pytest.mark.parametrize("engine", get_args(EngineName))
def test_the_examples_for_an_engine_in_the_shipped_file_are_valid_together(engine: EngineName) -> None:
    section = SHIPPED.read_text(encoding="utf-8").partition("[speech]")[2].partition("\n[")[0]
    examples = dict(re.findall(r"^# (\w+) = (.*)$", section, flags=re.MULTILINE))
    lines = [f"{key} = {examples[key]}" for key in SPEECH_KEYS[engine]]
    if engine == "kyutai":
        lines = [re.sub(r"http://.*?\"", 'wss://gpu.example/api/asr-streaming"', line) for line in lines]
    text = "\n".join(["[speech]", f'engine = "{engine}"', *lines]).replace("http://", "https://")

    speech = load_text(text).speech

    assert speech.engine == engine
    assert (speech.model, speech.workers, speech.answer_seconds) == ("whisper-1", 2, 10.0)


@pytest.mark.parametrize("engine", get_args(EngineName))
def test_an_engine_has_its_own_keys_and_no_others(engine: EngineName) -> None:
    values = {
        "url": "ws://gpu/asr" if engine == "kyutai" else "http://gpu/v1/audio/transcriptions",
        "key": "sesame",
        "ca_file": "ca.pem",
        "model": "other",
        "language": "de",
        "grammar": "one.jsgf",
        "folder": "zipformer",
        "workers": 3,
        "answer_seconds": 5.5,
    }
    assert values.keys() == keys_of("speech") - {"engine"}
    needed = {key: values[key] for key in ("url", "folder") if key in SPEECH_KEYS[engine]}

    for key in values.keys() - SPEECH_KEYS[engine]:
        (fault,) = faults_of(speech_text(engine, needed | {key: values[key]}))
        assert fault.startswith(f"speech.{key}: found ")
        assert f'expected no {key} with engine = "{engine}": it is for "' in fault
        assert "sesame" not in fault
    for key in SPEECH_KEYS[engine] - {"ca_file"}:
        speech = load_text(speech_text(engine, needed | {key: values[key]})).speech
        assert getattr(speech, key) != getattr(SpeechConfig(), key)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            'engine = "openai"',
            "speech.url: found nothing, expected the whole address, such as http://localhost:8000/v1/audio/transcriptions",
        ),
        (
            'engine = "kyutai"\nurl = "http://gpu/api"',
            'speech.url: found "http://gpu/api", expected the whole address, such as ws://localhost:8080/api/asr-streaming',
        ),
        (
            'engine = "kyutai"\nurl = "ws://me:horse@gpu/api"',
            'speech.url: found "ws://***@gpu/api", expected an address without a user: what the server wants',
        ),
        (
            'engine = "openai"\nurl = "http://gpu/"\nca_file = "a.pem"',
            "expected no ca_file with an address that has no certificates: write wss:// or https://",
        ),
        (
            'engine = "openai"\nurl = "http://gpu/"\nkey = "a b"',
            'speech.key: found "***", expected the server\'s key, without blanks',
        ),
        (
            'engine = "openai"\nurl = "http://gpu/"\nlanguage = "English"',
            'speech.language: found "English", expected the code of a language, such as "en"',
        ),
        ('engine = "whisper"', 'found "whisper", expected one of "none", "pocketsphinx", "openai", "kyutai"'),
        (
            'engine = "sherpa-onnx"',
            "speech.folder: found nothing, expected the folder of a streaming model, which has to be fetched by hand",
        ),
    ],
)
def test_what_an_engine_can_not_work_with_is_a_fault(text: str, fault: str) -> None:
    (found,) = faults_of("[speech]\n" + text)

    assert fault in found


def test_the_key_of_a_speech_server_is_secret_and_its_address_shown_without_what_is_secret_in_it() -> None:
    url = "https://gpu.example/v1/audio/transcriptions?token=staple"
    config = load(None, {"PLEXBRIDGE_SPEECH_ENGINE": "openai", "PLEXBRIDGE_SPEECH_URL": url} | {
        "PLEXBRIDGE_SPEECH_KEY": "sesame"
    })  # fmt: skip

    assert config.speech.key is not None
    assert config.speech.key.get_secret_value() == "sesame"
    shown = "\n".join(config.effective()) + repr(config)
    assert not any(secret in shown for secret in ("sesame", "staple"))
    assert {"sesame", "staple"} <= set(config.private_texts())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[audio]\nbitrate = 15999", "audio.bitrate: found 15999, expected a whole number from 16000 to 128000"),
        ("[audio]\nbitrate = 128001", "audio.bitrate: found 128001, expected a whole number from 16000 to 128000"),
        ("[audio]\nbitrate = 64000.0", "audio.bitrate: found 64000.0, expected a whole number from 16000 to 128000"),
        ("[audio]\nbitrate = true", "audio.bitrate: found true, expected a whole number from 16000 to 128000"),
        ('[audio]\nbitrate = "64k"', 'audio.bitrate: found "64k", expected a whole number from 16000 to 128000'),
        ("[audio]\nplayout_min_ms = 19", "audio.playout_min_ms: found 19, expected a whole number from 20 to 1000"),
        ("[audio]\nplayout_max_ms = 1001", "audio.playout_max_ms: found 1001, expected a whole number from 20 to 1000"),
        (
            "[audio]\nplayout_min_ms = 80\nplayout_max_ms = 60",
            "audio.playout_max_ms: found 60, expected at least playout_min_ms, which is 80",
        ),
        (
            "[audio]\nplayout_min_ms = 200",
            "audio.playout_max_ms: found nothing, expected at least playout_min_ms, which is 200",
        ),
        ('[log]\nlevel = "INFO"', 'log.level: found "INFO", expected one of "debug", "info", "warning", "error"'),
        ('[log]\nformat = "xml"', 'log.format: found "xml", expected one of "text", "json"'),
        ('[log]\nfile = " "', 'log.file: found " ", expected the path of a file to append to'),
        ("[log]\nfile = 2026-11-20", 'log.file: found "2026-11-20", expected the path of a file to append to'),
        ("audio = 5", "audio: found 5, expected a table, written [audio]"),
        ("[hearing]\nnoise_gate = 1", "hearing.noise_gate: found 1, expected true or false"),
        ("[[audio]]\nbitrate = 64000", "audio: found a list, expected a table, written [audio]"),
        ("[model]\n" + GPU, "model: found a table, expected tables, each written [[model]]"),
        ("model = [5]", "model[0]: found 5, expected tables, each written [[model]]"),
        ("[persona]\nvoice = 5", "persona.voice: found 5, expected the name of a voice"),
        (
            '[persona]\nprompt = " \\n "',
            'persona.prompt: found " \\n ", expected a text that is not blank: PersonaPlex fails on an empty prompt',
        ),
        ("[persona]\nprompt = []", "persona.prompt: found a list, expected a text"),
    ],
)
def test_a_value_that_can_not_be_used_is_named_with_what_was_expected(text: str, fault: str) -> None:
    assert faults_of(text) == (fault,)


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ("", f"url: found nothing, expected an address {ADVICE}"),
        ('url = ""', f'url: found "", expected an address {ADVICE}'),
        ("url = 5", "url: found 5, expected an address such as ws://localhost:8998/api/chat"),
        (GPU + "verify = 1", "verify: found 1, expected true or false"),
        (GPU + "sessions = 0", "sessions: found 0, expected a whole number from 1 to 64"),
        (
            GPU + "handshake_seconds = 0",
            "handshake_seconds: found 0, expected a number of seconds above 0, at most 86400 (one day)",
        ),
        (
            GPU + "limit_seconds = 86401",
            "limit_seconds: found 86401, expected a number of seconds above 0, at most 86400 (one day)",
        ),
        (
            GPU + "limit_seconds = nan",
            "limit_seconds: found nan, expected a number of seconds above 0, at most 86400 (one day)",
        ),
        (
            GPU + "limit_seconds = inf",
            "limit_seconds: found a huge number, expected a number of seconds above 0, at most 86400 (one day)",
        ),
        (
            GPU + f"sessions = 0x{'f' * 5000}",
            "sessions: found a huge number, expected a whole number from 1 to 64",
        ),
        (
            GPU + 'name = " a"',
            'name: found " a", expected a name of 1 to 64 characters without line breaks or blanks at its ends',
        ),
        (
            GPU + 'name = ""',
            'name: found "", expected a name of 1 to 64 characters without line breaks or blanks at its ends',
        ),
        (GPU + "ca_file = 3", "ca_file: found 3, expected the path of a file with certificates (PEM)"),
        (
            'url = "ws://gpu/api"\nverify = false',
            "verify: found false, expected no verify = false with ws://, which has no certificate: write wss:// if the "
            "server uses TLS (PersonaPlex with --ssl does), else remove verify",
        ),
        (
            GPU + 'verify = false\nca_file = "/ca.pem"',
            "verify: found false, expected either ca_file or verify = false: without verification the ca_file is not "
            "used",
        ),
        (
            'url = "WS://gpu/api"\nca_file = "/ca.pem"',
            'ca_file: found "/ca.pem", expected no ca_file with ws://, which has neither encryption nor certificates: '
            "write wss://",
        ),
    ],
)
def test_a_fault_of_a_model_is_named_with_its_place(keys: str, fault: str) -> None:
    assert faults_of("[[model]]\n" + keys) == (f"model[0].{fault}",)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://gpu:8998/api/chat", "starts with http://; expected ws://"),
        ("https://gpu:8998/api/chat", "starts with https://; expected wss://"),
        ("gpu:8998/api/chat", "unknown scheme"),
        ("ws:///api/chat", "no usable host"),
        ("ws://gpu:99999/api/chat", "can't be read"),
        ("ws://gpu:port/api/chat", "can't be read"),
        ("ws://gpu:8998", "has no path"),
        ("ws://gpu:8998/api/chat#x", "#"),
        ("ws://gpu:8998/api/chat ", "space"),
        ("ws://gpu:8998/api/chat?voice_prompt=NATF1.pt", "voice_prompt"),
        ("ws://gpu:8998/api/chat?text_prompt=x", "text_prompt"),
        ("ws://gpu:8998/api/chat?a=1&seed=", "seed"),
    ],
)
def test_an_address_that_can_not_be_used_says_why(url: str, reason: str) -> None:
    (fault,) = faults_of(f'[[model]]\nurl = "{url}"')

    assert fault.startswith(f'model[0].url: found "{mask_url(url)}", expected a usable address: this one ')
    assert reason in fault


def test_an_address_may_have_a_query_of_the_operator() -> None:
    (model,) = load_text('[[model]]\nurl = "wss://gpu/api/chat?token=sesame"').model

    assert model.url == "wss://gpu/api/chat?token=sesame"


@pytest.mark.parametrize(
    "key",
    [
        'url = "ws://gpu/api"',
        'ca_file = "/ca.pem"',
        "verify = false",
        "sessions = 2",
        "handshake_seconds = 5",
        "limit_seconds = 60",
    ],
)
def test_a_loopback_has_only_a_name(key: str) -> None:
    (fault,) = faults_of(f'[[model]]\ndialect = "loopback"\nname = "mine"\n{key}')

    assert fault.startswith(f"model[0].{key.split()[0]}: found ")
    assert fault.endswith('expected only name, dialect and renew_seconds with dialect = "loopback"')


@pytest.mark.parametrize(
    "models",
    [
        f'[[model]]\nname = "a"\n{GPU}[[model]]\nname = "b"\n{OTHER_GPU}[[model]]\nname = "a"\nsessions = 0\n{GPU}',
        f'[[model]]\nname = "moshi"\n{GPU}[[model]]\ndialect = "loopback"\n[[model]]\ndialect = "moshi"\n{GPU}',
    ],
)
def test_two_models_can_not_share_a_name_given_or_by_default(models: str) -> None:
    faults = faults_of(models)

    assert faults[0].startswith("model[2].name: found ")
    assert faults[0].endswith(", expected a name that no other [[model]] has")


@pytest.mark.parametrize(
    "url",
    [
        "wss://gpu.example:8998/api/chat",
        "ws://GPU.example.:8998/api/chat/",
        "wss://gpu.example:8998/api/chat?token=sesame",
    ],
)
def test_two_models_can_not_share_an_address_in_whatever_spelling(url: str) -> None:
    (fault,) = faults_of(f'[[model]]\nname = "a"\n{GPU}[[model]]\nname = "b"\nurl = "{url}"\n')

    assert fault.startswith("model[1].url: found ")
    assert fault.endswith(', expected an address of its own: this one is the address of model "a" already')
    assert "sesame" not in fault


def test_two_models_may_share_a_host_and_two_embedded_ones_are_two() -> None:
    config = load_text(
        f'[[model]]\nname = "a"\n{GPU}[[model]]\nname = "b"\nurl = "wss://gpu.example:8999/api/chat"\n'
        '[[model]]\nname = "c"\nurl = "wss://gpu.example:8998/second/chat"\n'
        '[[model]]\nname = "d"\ndialect = "loopback"\n[[model]]\nname = "e"\ndialect = "loopback"\n'
    )

    assert [model.name for model in config.model] == list("abcde")


def test_loading_twice_does_not_remember_the_names_of_the_first_time() -> None:
    first, second = (load_text(f'[[model]]\nname = "a"\n{GPU}') for _ in range(2))

    assert first.model == second.model


def test_an_unknown_voice_is_named_with_the_nearest_ones() -> None:
    (fault,) = faults_of('[persona]\nvoice = "NATX0"')

    assert fault.startswith('persona.voice: found "NATX0", expected a voice: ')
    assert "NATF0" in fault


def test_a_voice_is_kept_in_its_canonical_form() -> None:
    assert load_text('[persona]\nvoice = "natm2.pt"').persona.voice == "NATM2"


def test_a_prompt_that_no_request_can_hold_is_a_fault_and_is_not_shown() -> None:
    prompt = "geheim " * 2_000

    (fault,) = faults_of(f'[persona]\nprompt = "{prompt}"')

    assert fault.startswith('persona.prompt: found "*** (14000 characters)", expected a shorter text: ')
    assert "geheim" not in fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[persona]\nvoise = 1", "persona.voise: found an unknown key, expected voice, prompt; nearest: persona.voice"),
        (
            "[log]\nbitrate = 1",
            "log.bitrate: found an unknown key, expected level, format, file; nearest: audio.bitrate",
        ),
        ("[log]\nqq = 1", "log.qq: found an unknown key, expected level, format, file; nearest: log.level"),
        ('voice = "x"', "voice: found an unknown key, expected keys in sections only; nearest: persona.voice"),
        (
            "[modle]\nurl = 1",
            "modle: found an unknown section, expected model, persona, audio, renewal, discord, web, queue, hearing, "
            "recording, speech, store, log; nearest: model",
        ),
        (
            "[[logs]]",
            "logs: found an unknown section, expected model, persona, audio, renewal, discord, web, queue, hearing, "
            "recording, speech, store, log; nearest: log",
        ),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(text: str, fault: str) -> None:
    assert faults_of(text) == (fault,)


def test_an_unknown_key_of_a_model_is_named_with_the_nearest_one_at_its_place() -> None:
    (fault,) = faults_of(f'[[model]]\nname = "a"\n{GPU}[[model]]\n{OTHER_GPU}sesions = 3\n')

    assert fault.startswith("model[1].sesions: found an unknown key, expected ")
    assert fault.endswith("; nearest: model[1].sessions")


def test_the_value_of_an_unknown_key_is_never_shown_as_it_may_be_a_secret() -> None:
    assert "geheim" not in "".join(faults_of('tokn = "geheim"\n[modle]\nx = "geheim"\n[log]\ntoken = "geheim"'))


def test_all_faults_are_reported_at_once_each_on_one_line_in_the_order_of_the_keys() -> None:
    faults = faults_of(
        '[[model]]\nhandshake_seconds = 0\nsessions = 0\n[[model]]\ndialect = "x"\nverify = 0\n[persona]\n'
        'voice = "?"\nprompt = ""\n[audio]\nplayout_min_ms = 90\nplayout_max_ms = 80\n[log]\n"a\\nb\\u2028" = "x"\n',
        PLEXBRIDGE_LOG_LEVEL="loud",
        PLEXBRIDGE_AUDIO_BITRAT="1",
    )

    assert [fault.partition(":")[0] for fault in faults] == [
        "model[0].url",
        "model[0].sessions",
        "model[0].handshake_seconds",
        "model[1].dialect",
        "model[1].verify",
        "persona.voice",
        "persona.prompt",
        "audio.playout_max_ms",
        "PLEXBRIDGE_LOG_LEVEL",
        'log."a\\nb\\U00002028"',
        "PLEXBRIDGE_AUDIO_BITRAT",
    ]
    assert [len(fault.splitlines()) for fault in faults] == [1] * len(faults)


def test_no_fault_speaks_the_words_of_the_validation_library() -> None:
    faults = faults_of(
        "audio = 5\n[[model]]\nname = 1\ndialect = 1\nca_file = 1\nverify = 1\n[persona]\nvoice = 1\nprompt = 1\n"
        "[log]\nlevel = 1\nformat = 1\nfile = 1\nx = 1\n"
    )

    assert len(faults) == 11
    assert not re.search(r"[Ii]nput|valid (string|bool)|permitted|instance|pydantic|literal", "\n".join(faults))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://gpu:8998/api/chat", "wss://gpu:8998/api/chat"),
        ("wss://user:pass@gpu/api", "wss://***@gpu/api"),
        ("wss://user:p@ss/w?rd#@gpu/api", "wss://***@gpu/api"),
        ("user:pass@gpu/api", "***@gpu/api"),
        ("a+b2://user:pass@gpu/api", "a+b2://***@gpu/api"),
        ("ws://gpu/api?token=abc&x=1", "ws://gpu/api?token=***&x=***"),
        ("ws://gpu/api?c2VjcmV0&YWJj==", "ws://gpu/api?***&***"),
        ("ws://gpu/api?", "ws://gpu/api?"),
        ("ws://gpu/api#secret", "ws://gpu/api#***"),
        ("ws://gpu/api?token=abc#secret", "ws://gpu/api?token=***#***"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_secrets_of_an_address_and_prompts_are_in_no_repr_fault_or_effective_configuration() -> None:
    text = '[[model]]\nurl = "wss://gpu/api/chat?token=sesame"\nsessions = {}\n[persona]\nprompt = "sesame prompt"\n'
    config = load_text(text.format(1))

    assert "sesame" not in repr(config) + str(config) + "\n".join(config.effective())
    assert "sesame" not in "\n".join(faults_of(text.format(0)))
    assert config.model[0].address == "wss://gpu/api/chat?token=***"


def test_what_validation_raises_for_a_prompt_does_not_repeat_it() -> None:
    with pytest.raises(ValidationError) as caught:
        PersonaConfig(voice="?", prompt="sesame " * 2_000)

    assert "sesame" not in str(caught.value)


def test_private_texts_are_the_prompt_and_what_is_in_queries() -> None:
    config = load_text(
        f'[[model]]\nname = "a"\nurl = "wss://gpu/api/chat?token=open%20sesame&x="\n[[model]]\n{GPU}'
        '[persona]\nprompt = "a poet"\n'
    )

    assert config.private_texts() == ("a poet", "open sesame")


def test_models_are_found_by_name_and_the_first_is_the_default() -> None:
    config = load_text(f'[[model]]\nname = "a"\n{GPU}[[model]]\nname = "beta"\n{OTHER_GPU}')

    assert config.find_model().name == "a"
    assert config.find_model("beta") is config.model[1]


def test_a_model_that_does_not_exist_is_answered_with_the_nearest_name() -> None:
    config = load_text(f'[[model]]\nname = "a"\n{GPU}[[model]]\nname = "beta"\n{OTHER_GPU}')

    with pytest.raises(RequestError, match="Did you mean beta"):
        config.find_model("bta")


def test_the_effective_configuration_says_where_each_value_came_from() -> None:
    lines = load_text("[audio]\nbitrate = 32000\n", PLEXBRIDGE_LOG_LEVEL="error").effective()

    assert lines[0] == f"# from {Path('test.toml').absolute()}"
    assert "bitrate = 32000  # file" in lines
    assert 'level = "error"  # PLEXBRIDGE_LOG_LEVEL' in lines
    assert 'format = "text"  # default' in lines
    assert "# file is not set" in lines
    assert load(None, {}).effective()[0] == "# from the defaults"


def test_the_effective_configuration_is_toml_that_means_the_same() -> None:
    config = load_text(
        f'[[model]]\nname = "tab\u00fc\\"q"\n{GPU}limit_seconds = 3\n[[model]]\ndialect = "loopback"\n'
        '[log]\nfile = "x y.log"\n'
    )

    again = load_text("\n".join(config.effective()))

    assert again.model == config.model
    assert (again.audio, again.log) == (config.audio, config.log)
