"""The configuration: every key of `config.toml`, its default, its limits, and the frozen objects the program is handed.

`load` reads the file and the environment once, at start-up; nobody else does. How faults are found and worded is in
`config_source` and `config_faults`; here stands only what each key is. A rule that looks at two keys is a validator of
the later one, so that it is checked even when other keys are wrong, and all faults are reported together.
"""

import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from plexbridge.audio.opus import MODEL_UPLINK
from plexbridge.config_faults import FROM_FILE, Origins, Shown, effective_lines, nearest, quoted
from plexbridge.config_source import read
from plexbridge.errors import ConfigError, RequestError
from plexbridge.model.identity import model_key
from plexbridge.model.request import Dialect, build_request, clean_prompt, parse_address
from plexbridge.model.voices import VOICES, check_voice
from plexbridge.people.web.access import is_loopback, parse_host, parse_origin
from plexbridge.store.address import EXPECTED, in_folder, parse_store_url

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]
Attention = Literal["everyone", "floor", "one"]
Mark = Literal["sound", "sentence", "none"]
EngineName = Literal["none", "pocketsphinx", "openai", "kyutai", "sherpa-onnx"]

DEFAULT_FILE = Path("config.toml")
"""Read when no file is named and it is there; relative to the working directory."""

DEFAULT_PROMPT = (
    "You are a friendly companion in a voice call. You listen closely, answer in one or two short sentences, "
    "and ask when something is unclear."
)
"""Short on purpose: every word costs the server about one model step before it can answer."""

MAX_NAME_CHARS = 64

TYPICAL_URL = "ws://localhost:8998/api/chat"
"""Where a PersonaPlex server on this machine listens; also the yardstick for a prompt's length."""

RENEW_SECONDS: Mapping[Dialect, float | None] = {"personaplex": 220.0, "moshi": 330.0, "loopback": None}
"""When a conversation leaves its link for a fresh one: PersonaPlex's context is a rolling 240 s, in which voice and
persona take up to 20 s before the first word, and are the first to be forgotten; Moshi's Rust server ends a session at
360 s. The loopback forgets nothing."""

_QUERY_ITEM = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]{0,31})=.*[^=].*", re.DOTALL)


def mask_url(url: str) -> str:
    """Return an address as others may see it: user, password, fragment and the values of the query are `***`.

    It must hold for text that is no valid address too, so it hides rather more than a parser would.
    """
    masked = re.sub(r"^([a-zA-Z0-9+]*://)?.*@", r"\1***@", url, flags=re.DOTALL)
    masked, hash_sign, _ = masked.partition("#")
    address, question_mark, query = masked.partition("?")
    # A part that is no `name=value` may be a token by itself, with the padding of base64 at its end.
    items = [f"{item[1]}=***" if (item := _QUERY_ITEM.fullmatch(part)) else "***" for part in query.split("&")]
    return address + question_mark + ("&".join(items) if query else "") + (hash_sign and "#***")


def mask_store_url(url: str) -> str:
    """Return the address of a database as others may see it; that of a file hides nothing."""
    address = parse_store_url(url)
    if address is not None:
        return address.shown
    scheme, separator, rest = url.partition("://")
    if "@" in rest or scheme == "sqlite" or not re.search("[:=]", rest if separator else url.removeprefix("sqlite:")):
        return mask_url(url)
    # Without an @ nobody can tell which part is a password.
    return f"{scheme}://***" if separator and scheme.replace("+", "").isalnum() else "***"


def mask_prompt(prompt: str) -> str:
    """Return a prompt as others may see it: its length; a blank one hides nothing."""
    return f"*** ({len(prompt)} characters)" if prompt.strip() else prompt


def _whole(default: int, low: int, high: int) -> Any:
    """Return the field of a whole number within limits."""
    return Field(default=default, ge=low, le=high, description=f"a whole number from {low} to {high}")


_SPAN = "a number of seconds above 0, at most 86400 (one day)"


def _seconds(default: float | None) -> Any:
    """Return the field of a time span."""
    return Field(default=default, gt=0, le=86_400, description=_SPAN)


def _choice(default: str, *, among: object) -> Any:
    """Return the field of a key whose type `among` lists its few values."""
    return Field(default=default, description="one of " + ", ".join(f'"{name}"' for name in get_args(among)))


def _path(what: str) -> Any:
    """Return the field of a file's path that may be unset."""
    return Field(default=None, description=f"the path of {what}")


class _Table(BaseModel):
    """What all sections share: frozen, strict about types, no unknown keys, and no values in pydantic's messages."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, hide_input_in_errors=True
    )


class ModelConfig(_Table):
    """One speech model: whose protocol it speaks and where it is. The embedded loopback has no address here."""

    dialect: Dialect = _choice("personaplex", among=Dialect)
    name: str = Field(
        default_factory=lambda earlier: str(earlier["dialect"]),
        description=f"a name of 1 to {MAX_NAME_CHARS} characters without line breaks or blanks at its ends",
    )
    url: Annotated[str, Shown(mask_url)] = Field(
        default="", repr=False, description=f"an address such as {TYPICAL_URL}"
    )
    ca_file: Path | None = _path("a file with certificates (PEM)")
    verify: bool = Field(default=True, description="true or false")
    sessions: int = _whole(1, 1, 64)
    handshake_seconds: float = _seconds(60.0)
    limit_seconds: float | None = _seconds(None)
    renew_seconds: float | None = Field(
        default_factory=lambda earlier: RENEW_SECONDS[earlier["dialect"]], gt=0, le=86_400, description=_SPAN
    )

    @property
    def address(self) -> str:
        """The address for people and logs, without its secrets; empty for the embedded loopback."""
        return mask_url(self.url)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str, info: ValidationInfo) -> str:
        if not (0 < len(name) <= MAX_NAME_CHARS and name.isprintable() and name == name.strip()):
            raise ValueError(cls.model_fields["name"].description)
        # `load` hands every entry the same context; an entry that is made by itself has no others.
        taken = info.context.setdefault("names", set()) if info.context is not None else set()
        if name in taken:
            raise ValueError("a name that no other [[model]] has")
        taken.add(name)
        return name

    @field_validator("url", "ca_file", "verify", "sessions", "handshake_seconds", "limit_seconds")
    @classmethod
    def _check_dialect_has_it(cls, value: object, info: ValidationInfo) -> object:
        is_default = value == cls.model_fields[str(info.field_name)].default
        if info.data.get("dialect") == "loopback" and not is_default:
            raise ValueError('only name, dialect and renew_seconds with dialect = "loopback"')
        return value

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str, info: ValidationInfo) -> str:
        dialect = info.data.get("dialect")
        if dialect in (None, "loopback"):
            return url
        if not url:
            raise ValueError(f'an address such as {TYPICAL_URL}, or dialect = "loopback"')
        try:
            parse_address(url, dialect=dialect)
        except ConfigError as error:
            reason = error.faults[0].removeprefix("the model's url ")
            raise ValueError(f"a usable address: this one {reason}") from None
        return url

    @field_validator("url")
    @classmethod
    def _check_url_is_of_no_other(cls, url: str, info: ValidationInfo) -> str:
        name = info.data.get("name")
        if not url or name is None or info.context is None:
            return url
        holder = info.context.setdefault("addresses", {}).setdefault(model_key(url), name)
        if holder != name:
            raise ValueError(f"an address of its own: this one is the address of model {quoted(holder)} already")
        return url

    @field_validator("ca_file")
    @classmethod
    def _check_ca_file_is_used(cls, ca_file: Path | None, info: ValidationInfo) -> Path | None:
        if ca_file is not None and _is_plain(info):
            raise ValueError("no ca_file with ws://, which has neither encryption nor certificates: write wss://")
        return ca_file

    @field_validator("verify")
    @classmethod
    def _check_verify_has_effect(cls, verify: bool, info: ValidationInfo) -> bool:
        if not verify and _is_plain(info):
            raise ValueError(
                "no verify = false with ws://, which has no certificate: write wss:// if the server uses TLS "
                "(PersonaPlex with --ssl does), else remove verify"
            )
        if not verify and info.data.get("ca_file") is not None:
            raise ValueError("either ca_file or verify = false: without verification the ca_file is not used")
        return verify


def _is_plain(info: ValidationInfo) -> bool:
    """Whether the entry's address, if it has a valid one, is without TLS."""
    return str(info.data.get("url", "")).lower().startswith("ws:")


class PersonaConfig(_Table):
    """Who the model is when nobody asks for something else."""

    voice: str = Field(default="NATF0", description="the name of a voice")
    prompt: Annotated[str, Shown(mask_prompt)] = Field(default=DEFAULT_PROMPT, repr=False, description="a text")

    @field_validator("voice")
    @classmethod
    def _check_voice(cls, voice: str) -> str:
        try:
            return check_voice(voice)
        except RequestError as error:
            raise ValueError(f"a voice: {error.user_message}") from None

    @field_validator("prompt")
    @classmethod
    def _check_prompt(cls, prompt: str) -> str:
        if not clean_prompt(prompt):
            raise ValueError("a text that is not blank: PersonaPlex fails on an empty prompt")
        try:
            build_request(dialect="personaplex", url=TYPICAL_URL, voice=VOICES[0], prompt=prompt)
        except RequestError as error:
            raise ValueError(f"a shorter text: {error.user_message}") from None
        return prompt


class AudioConfig(_Table):
    """The limits of the playout buffer, and the bit rate of what is sent to the model."""

    playout_min_ms: int = _whole(20, 20, 1_000)
    playout_max_ms: int = _whole(120, 20, 1_000)
    bitrate: int = _whole(MODEL_UPLINK.bitrate_bps, 16_000, 128_000)

    @field_validator("playout_max_ms")
    @classmethod
    def _check_order(cls, playout_max_ms: int, info: ValidationInfo) -> int:
        low = info.data.get("playout_min_ms", playout_max_ms)
        if playout_max_ms < low:
            raise ValueError(f"at least playout_min_ms, which is {low}")
        return playout_max_ms


class RenewalConfig(_Table):
    """What people notice, and the fresh model knows, when a conversation moves to a fresh link."""

    mark: Mark = _choice("sound", among=Mark)
    recap: bool = Field(default=False, description="true or false")


MAX_ID = 2**63 - 1
"""Discord's ids are positive and of 64 bits, and have not used the highest one."""


def _id_list(value: object) -> tuple[int, ...]:
    """Return a list of ids as the frozen schema has it; text, as from the environment, has commas between them."""
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",") if part.strip()]
        value = [int(part) if part.isdecimal() and len(part) < 20 else part for part in parts]
    ids = list(value) if isinstance(value, list | tuple) else [value]
    if not all(type(each) is int and 0 < each <= MAX_ID for each in ids):
        raise ValueError("a list of ids, such as [123456789012345678]")
    return tuple(each for each in ids if isinstance(each, int))


_Ids = Annotated[tuple[int, ...], BeforeValidator(_id_list)]


class DiscordConfig(_Table):
    """The Discord front, which is on when there is a token; empty lists of servers and channels mean all of them."""

    token: SecretStr | None = Field(default=None, description="the bot's token, without blanks")
    auto_join: bool = Field(default=True, description="true or false")
    prefix_commands: bool = Field(default=False, description="true or false")
    guilds: _Ids = ()
    channels: _Ids = ()
    attention: Attention = _choice("everyone", among=Attention)
    text_channel: int | None = Field(default=None, ge=1, le=MAX_ID, description="the id of a channel")
    proxy: Annotated[str, Shown(mask_url)] | None = Field(
        default=None, repr=False, description="the address of an HTTP proxy, such as http://localhost:3128"
    )
    api_base: str = Field(default="https://discord.com/api/v10", description="an address that ends with /api/v10")
    gateway: str = Field(default="wss://gateway.discord.gg/", description="an address that begins with wss:// or ws://")
    ca_file: Path | None = _path("a file with certificates (PEM)")

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None:
            _check_secret(token, cls.model_fields["token"].description)
        return token

    @field_validator("proxy", "api_base", "gateway")
    @classmethod
    def _check_address(cls, address: str | None, info: ValidationInfo) -> str | None:
        schemes = ("ws://", "wss://") if info.field_name == "gateway" else ("http://", "https://")
        ending = "/api/v10" if info.field_name == "api_base" else ""
        if address is None or (address.startswith(schemes) and address.endswith(ending) and _has_host(address)):
            return address
        raise ValueError(cls.model_fields[str(info.field_name)].description)


def _check_secret(secret: SecretStr, expected: str | None) -> None:
    """Raise ValueError for what can't stand in a header."""
    text = secret.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(expected)


def _has_host(address: str) -> bool:
    """Whether an address can be parsed, and names a host."""
    try:
        return bool(urlsplit(address).hostname) and urlsplit(address).port != 0
    except ValueError:
        return False


MIN_TOKEN_CHARS = 16
"""Too many to be guessed through the network, if they were chosen by chance."""


def _origin_list(value: object) -> tuple[str, ...]:
    """Return a list of origins as the frozen schema has it; text, as from the environment, has commas between them."""
    origins = value
    if isinstance(value, str):
        origins = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(origins, list | tuple) or not all(
        isinstance(each, str) and parse_origin(each) is not None for each in origins
    ):
        raise ValueError('a list of origins without a path, such as ["https://voice.example"]')
    return tuple(origins)


class WebConfig(_Table):
    """The web front: the page and what it talks to. Where others can reach it, it needs a token and encryption."""

    enabled: bool = Field(default=True, description="true or false")
    host: str = Field(default="127.0.0.1", description="an address of this machine, such as 127.0.0.1")
    port: int = _whole(8080, 0, 65_535)
    token: SecretStr | None = Field(
        default=None, description=f"at least {MIN_TOKEN_CHARS} characters of ASCII without blanks"
    )
    origins: Annotated[tuple[str, ...], BeforeValidator(_origin_list)] = ()
    certificate: Path | None = _path("a file with the server's certificate (PEM)")
    key: Path | None = _path("a file with the certificate's private key (PEM)")
    tls_proxy: bool = Field(default=False, description="true or false")
    clients: int = _whole(64, 1, 1_000)

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        try:
            is_host = bool(IPv6Address(host)) if ":" in host else parse_host(host) is not None
        except ValueError:
            is_host = False
        if not is_host or host.startswith("["):
            raise ValueError(cls.model_fields["host"].description)
        return host

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        text = "" if token is None else token.get_secret_value()
        is_usable = len(text) >= MIN_TOKEN_CHARS and text.isascii() and text.isprintable() and " " not in text
        if token is not None and not is_usable:
            raise ValueError(cls.model_fields["token"].description)
        if token is None and _is_open_to_others(info):
            raise ValueError(
                f"a token, as others can reach {info.data['host']}: set PLEXBRIDGE_WEB_TOKEN to "
                f"{cls.model_fields['token'].description}, or web.host to 127.0.0.1"
            )
        return token

    @field_validator("key")
    @classmethod
    def _check_pair(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if "certificate" in info.data and (key is None) != (info.data["certificate"] is None):
            raise ValueError("web.certificate and web.key together, or neither")
        return key

    @field_validator("tls_proxy")
    @classmethod
    def _check_encryption(cls, tls_proxy: bool, info: ValidationInfo) -> bool:
        has_certificate = info.data.get("certificate", True) is not None
        if not tls_proxy and not has_certificate and _is_open_to_others(info):
            raise ValueError(
                f"encryption, as others can reach {info.data['host']}: set web.certificate and web.key, or "
                "tls_proxy = true if a proxy that you trust encrypts and is the only one to reach this port"
            )
        return tls_proxy


def _is_open_to_others(info: ValidationInfo) -> bool:
    """Whether a web front with the keys before this one is on, and can be reached from other machines."""
    return bool(info.data.get("enabled")) and "host" in info.data and not is_loopback(info.data["host"])


class QueueConfig(_Table):
    """How models are shared when there are fewer of them than people want."""

    slot_seconds: float = Field(
        default=600.0, ge=0, le=86_400, description="a number of seconds from 0 (no limit) to 86400 (one day)"
    )
    place_seconds: float = _seconds(60.0)


class HearingConfig(_Table):
    """What is done about what people say, or don't."""

    noise_gate: bool = Field(default=True, description="true or false")
    idle_minutes: int = _whole(10, 0, 1_440)


class RecordingConfig(_Table):
    """Whether conversations may be recorded at all, where to, and how much is kept."""

    enabled: bool = Field(default=False, description="true or false")
    folder: Path = Field(default=Path("recordings"), description="the path of a folder")
    max_minutes: int = _whole(120, 1, 1_440)
    keep_days: int = _whole(30, 1, 3_650)
    max_megabytes: int = _whole(2_000, 1, 1_000_000)


class StoreConfig(_Table):
    """Where it is kept what people have set: a file of SQLite, or a database of a PostgreSQL server."""

    url: Annotated[str, Shown(mask_store_url)] = Field(
        default="sqlite:///plexbridge.db", repr=False, description=EXPECTED
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if parse_store_url(url) is None:
            raise ValueError(EXPECTED)
        return url


TYPICAL_SPEECH_URLS: Mapping[EngineName, str] = {
    "openai": "http://localhost:8000/v1/audio/transcriptions",
    "kyutai": "ws://localhost:8080/api/asr-streaming",
}
"""Where servers that transcribe listen; the other engines have none."""

SPEECH_KEYS: Mapping[EngineName, frozenset[str]] = {
    "none": frozenset(),
    "pocketsphinx": frozenset(("grammar", "workers", "answer_seconds")),
    "openai": frozenset(("url", "key", "ca_file", "model", "language", "answer_seconds")),
    "kyutai": frozenset(("url", "key", "ca_file", "answer_seconds")),
    "sherpa-onnx": frozenset(("folder", "workers", "answer_seconds")),
}
"""The keys that each engine has."""


class SpeechConfig(_Table):
    """Which engine turns what people say into text; with "none", nothing is transcribed."""

    engine: EngineName = _choice("none", among=EngineName)
    url: Annotated[str, Shown(mask_url)] = Field(default="", repr=False, description="the address of a server")
    key: SecretStr | None = Field(default=None, description="the server's key, without blanks")
    ca_file: Path | None = _path("a file with certificates (PEM)")
    model: str = Field(default="whisper-1", min_length=1, max_length=200, description="the name of a model")
    language: str | None = Field(
        default=None, pattern="^[a-z]{2,3}$", description='the code of a language, such as "en"'
    )
    grammar: Path | None = _path("a grammar (JSGF)")
    folder: Path | None = Field(default=None, description="the path of a folder with a model")
    workers: int = _whole(2, 1, 32)
    answer_seconds: float = _seconds(10.0)

    @field_validator("*")
    @classmethod
    def _check_engine_has_it(cls, value: object, info: ValidationInfo) -> object:
        engine: EngineName | None = info.data.get("engine")
        name = str(info.field_name)
        if engine is None or name == "engine" or name in SPEECH_KEYS[engine]:
            return value
        if value != cls.model_fields[name].default:
            having = " or ".join(f'"{each}"' for each, keys in SPEECH_KEYS.items() if name in keys)
            raise ValueError(f'no {name} with engine = "{engine}": it is for {having}')
        return value

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str, info: ValidationInfo) -> str:
        engine: EngineName | None = info.data.get("engine")
        if engine is None or engine not in TYPICAL_SPEECH_URLS:
            return url
        schemes = ("ws://", "wss://") if engine == "kyutai" else ("http://", "https://")
        is_plain = url.isascii() and url.isprintable() and " " not in url
        if not (is_plain and url.startswith(schemes) and _has_host(url)):
            raise ValueError(f"the whole address, such as {TYPICAL_SPEECH_URLS[engine]}")
        if urlsplit(url).username is not None:
            raise ValueError("an address without a user: what the server wants to know goes into key")
        return url

    @field_validator("key")
    @classmethod
    def _check_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            _check_secret(key, cls.model_fields["key"].description)
        return key

    @field_validator("ca_file")
    @classmethod
    def _check_ca_file_is_used(cls, ca_file: Path | None, info: ValidationInfo) -> Path | None:
        if ca_file is not None and str(info.data.get("url", "")).startswith(("ws://", "http://")):
            raise ValueError("no ca_file with an address that has no certificates: write wss:// or https://")
        return ca_file

    @field_validator("folder")
    @classmethod
    def _check_folder(cls, folder: Path | None, info: ValidationInfo) -> Path | None:
        if folder is None and info.data.get("engine") == "sherpa-onnx":
            raise ValueError("the folder of a streaming model, which has to be fetched by hand")
        return folder


class LogConfig(_Table):
    """What is logged, how, and where to; without a file it is standard error."""

    level: Level = _choice("info", among=Level)
    format: Format = _choice("text", among=Format)
    file: Path | None = _path("a file to append to")


EMBEDDED = ModelConfig(dialect="loopback")
"""The model of a configuration that names none: the loopback that plexbridge brings along."""


class Config(_Table):
    """The whole configuration; the first model is the default one."""

    model: tuple[ModelConfig, ...] = (EMBEDDED,)
    persona: PersonaConfig = PersonaConfig()
    audio: AudioConfig = AudioConfig()
    renewal: RenewalConfig = RenewalConfig()
    discord: DiscordConfig = DiscordConfig()
    web: WebConfig = WebConfig()
    queue: QueueConfig = QueueConfig()
    hearing: HearingConfig = HearingConfig()
    recording: RecordingConfig = RecordingConfig()
    speech: SpeechConfig = SpeechConfig()
    store: StoreConfig = StoreConfig()
    log: LogConfig = LogConfig()
    _path: Path | None = PrivateAttr(default=None)
    _origins: Origins = PrivateAttr(default_factory=dict)

    @field_validator("model")
    @classmethod
    def _embed_if_empty(cls, models: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        return models or (EMBEDDED,)

    def find_model(self, name: str | None = None) -> ModelConfig:
        """Return the model of that name, or the default one.

        Raises `RequestError`, whose sentence names the nearest one.
        """
        by_name = {model.name: model for model in self.model}
        if name is None:
            return self.model[0]
        if name not in by_name:
            raise RequestError(f"There is no model of that name. Did you mean {nearest(name, by_name)}?")
        return by_name[name]

    def private_texts(self) -> tuple[str, ...]:
        """Return what must stand in no log: the prompt, tokens and keys, and what is secret in the addresses."""
        queries = (urlsplit(url).query for url in (*(model.url for model in self.model), self.speech.url))
        values = (value for query in queries for _, value in parse_qsl(query))
        secrets = (self.discord.token, self.web.token, self.speech.key)
        keys = (secret.get_secret_value() for secret in secrets if secret is not None)
        database = parse_store_url(self.store.url)
        return (self.persona.prompt, *keys, *values, *(() if database is None else database.secrets))

    def effective(self) -> tuple[str, ...]:
        """Return the configuration as TOML without secrets, one line per key, with where each value came from."""
        source = "the defaults" if self._path is None else str(self._path.absolute())
        return (f"# from {source}", *effective_lines(self, self._origins))


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Return the configuration from `path` (else `config.toml` if it is there, else defaults) and the environment.

    Raises `ConfigError` with every fault at once, one line each.
    """
    if path is None and DEFAULT_FILE.exists():
        path = DEFAULT_FILE
    config, origins = read(Config, path, environ)
    if path is not None and origins.get(("store", "url"), FROM_FILE) == FROM_FILE:
        # Like the file's other paths, and the default too: what is stored must not depend on where one starts from.
        url = in_folder(config.store.url, path.absolute().parent)
        config = config.model_copy(update={"store": config.store.model_copy(update={"url": url})})
    if path is not None and origins.get(("recording", "folder"), FROM_FILE) == FROM_FILE:
        folder = path.absolute().parent / config.recording.folder
        config = config.model_copy(update={"recording": config.recording.model_copy(update={"folder": folder})})
    config._path, config._origins = path, origins
    return config
