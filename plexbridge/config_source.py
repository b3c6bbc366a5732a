"""One configuration out of a TOML file and the environment, or every fault that stands in its way, at once.

`read` knows no key by name either (see `config_faults` for what a schema is). The environment wins over the file:
`PLEXBRIDGE_SECTION_KEY` sets a section's key, in the first entry where the section is an array of tables, which is
made when there is none. Text from the environment is converted to the key's type where it can be; where it can't, the
validation says so like for any other value, and nothing at all means "not set" for a key that may be so. Paths are
relative to the file's folder, or to the working directory when they come from the environment.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from plexbridge.config_faults import FROM_FILE, Location, Origins, faults, is_array, key_path, nearest, quoted, sections
from plexbridge.errors import ConfigError

VARIABLE_PREFIX = "PLEXBRIDGE_"

MAX_FILE_BYTES = 256 * 1024
"""A hundred times a long configuration; a WAV or a device named by mistake is refused instead of read."""

_WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_TOML_MESSAGE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)

Schema = TypeVar("Schema", bound=BaseModel)
Table = dict[str, object]


def read(schema: type[Schema], path: Path | None, environ: Mapping[str, str]) -> tuple[Schema, Origins]:
    """Return the validated configuration and where each value came from; without `path` there is no file.

    Raises `ConfigError` with every fault of the file and of the environment.
    """
    usable, outside = _sorted_variables(schema, environ)
    try:
        document = _parsed(path) if path is not None else {}
    except ConfigError as error:
        raise ConfigError((*error.faults, *outside)) from None
    origins: dict[Location, str] = {}
    if path is not None:
        _adopt_file(schema, document, path.absolute().parent, origins)
    for name, (section, key) in usable.items():
        for place, table in _tables_for_variable(schema, document, section):
            table[key] = _converted(environ[name], sections(schema)[section].model_fields[key])
            origins[*place, key] = name
    try:
        # TOML has lists only; a frozen schema has tuples, and pydantic can be strict about the difference.
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}
        config = schema.model_validate(plain, context={})
    except ValidationError as error:
        raise ConfigError((*faults(error, schema, plain, origins), *outside)) from None
    if outside:
        raise ConfigError(tuple(outside))
    return config, origins


def variables(schema: type[BaseModel]) -> dict[str, tuple[str, str]]:
    """Return the section and key that each environment variable sets."""
    return {
        f"{VARIABLE_PREFIX}{section}_{key}".upper(): (section, key)
        for section, model in sections(schema).items()
        for key in model.model_fields
    }


def _sorted_variables(
    schema: type[BaseModel], environ: Mapping[str, str]
) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return the variables that are ours and usable, with their sections and keys, and the faults of the others."""
    known = variables(schema)
    usable = {}
    lines = []
    for name in sorted(name for name in environ if name.startswith(VARIABLE_PREFIX)):
        if name not in known:
            near = nearest(name, known)
            lines.append(f"{key_path((name,))}: found an unknown variable, expected a known one; nearest: {near}")
        elif _is_text(environ[name]):
            usable[name] = known[name]
        else:
            lines.append(f"{name}: found bytes that are not UTF-8, expected UTF-8 text")
    return usable, lines


def _parsed(path: Path) -> Table:
    """Return the file as TOML tables.

    Raises `ConfigError` with the one fault that keeps the file from being read or parsed.
    """
    name = quoted(str(path))
    if path.is_dir():
        raise ConfigError((f"{name}: found a directory, expected a TOML file",))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError((f"{name}: found no such file, expected a TOML file",)) from None
    except OSError as error:
        raise ConfigError((f"{name}: found a file that can't be read ({error.strerror})",)) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError((f"{name}: found more than {MAX_FILE_BYTES // 1024} KiB, expected a TOML file",))
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError((f"{name}: found UTF-16 text, expected UTF-8: save the file as UTF-8",))
    try:
        text = data.decode("utf-8-sig")  # some Windows editors put a byte order mark first
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError((f"{name} line {line}: found bytes that are not UTF-8, expected UTF-8 text",)) from None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError((_syntax_fault(name, text, error),)) from None


def _syntax_fault(name: str, text: str, error: Exception) -> str:
    """Return the fault of text that is no TOML; tomllib's messages name keys and single characters, never values."""
    message = _TOML_MESSAGE.fullmatch(str(error))
    if message is None:
        return f"{name}: found a number of thousands of digits or very deep nesting, expected TOML"
    what, line, column = message.groups()
    place = f"line {line}, column {column}" if line else f"line {text.count(chr(10)) + 1}, at the end"
    return f"{name} {place}: found what is not TOML: {what[:1].lower()}{what[1:]}"


def _adopt_file(schema: type[BaseModel], document: Table, folder: Path, origins: dict[Location, str]) -> None:
    """Note where the file's values stand, and take its paths relative to its folder."""
    for section, model in sections(schema).items():
        for place, table in _tables(document, section):
            for key, value in table.items():
                origins[*place, key] = FROM_FILE
                if key in model.model_fields and _kind(model.model_fields[key]) is Path:
                    table[key] = _path(value, folder)


def _tables(document: Table, section: str) -> Iterator[tuple[Location, Table]]:
    """Yield the tables that a section has, with their places; what is no table is left to the validation."""
    value = document.get(section)
    if isinstance(value, dict):
        yield (section,), value
    elif isinstance(value, list):
        yield from (((section, index), table) for index, table in enumerate(value) if isinstance(table, dict))


def _tables_for_variable(schema: type[BaseModel], document: Table, section: str) -> list[tuple[Location, Table]]:
    """Return the section's one table or first entry, made if missing; none if something else stands there."""
    if is_array(schema, section) and document.get(section, []) == []:
        document[section] = [{}]
    return list(_tables({section: document.setdefault(section, {})}, section))[:1]


def _converted(text: str, field: FieldInfo) -> object:
    """Return text from the environment as the key's type, unchanged where that can't be."""
    kind = _kind(field)
    if not text and NoneType in get_args(field.annotation):
        return None
    if kind is Path:
        return _path(text, Path.cwd())
    if kind is bool:
        return _WORDS.get(text.strip().lower(), text)
    try:
        return int(text) if kind is int else float(text) if kind is float else text
    except ValueError:
        return text


def _is_text(text: str) -> bool:
    """Whether text from the environment was UTF-8: Python keeps other bytes as lone surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _path(value: object, folder: Path) -> object:
    """Return the text of a path as an absolute path, anything else unchanged."""
    is_usable = isinstance(value, str) and value.strip() and "\0" not in value
    return folder / value if is_usable and isinstance(value, str) else value


def _kind(field: FieldInfo) -> object:
    """Return the type of a key, without the `None` of a key that may be unset."""
    if get_origin(field.annotation) is not UnionType:
        return field.annotation
    return next(kind for kind in get_args(field.annotation) if kind is not NoneType)
