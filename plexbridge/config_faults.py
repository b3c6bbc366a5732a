"""Words for a configuration: what a key is called, how a value is shown, and one plain line for each fault.

Everything here is pure and knows no key by name. A schema is a pydantic model whose fields are sections: a table (a
model) or an array of tables (a tuple of models). What a key expects is its field's `description`, or the text of the
`ValueError` that its validator raises; pydantic's own sentences are never shown. A value that must not be read by
others is a `SecretStr`, shown as `***`, or carries a `Shown` mark, which says what may be seen of it.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

Location = tuple[str | int, ...]
"""Where a value stands: `("model", 0, "url")`."""

Origins = Mapping[Location, str]
"""Where values came from: `FROM_FILE` or the environment variable's name; a default has no entry."""

FROM_FILE = "file"

MAX_SHOWN_CHARS = 60
"""A fault is one line, so a long value is cut; also bounds the search for the nearest key."""

MAX_SHOWN_NUMBER = 2**64
"""TOML promises integers of 64 bits; what is larger is a mistake, whatever it is."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Shown:
    """Marks a private text key (`Annotated[str, Shown(mask)]`); `mask` returns what others may see of its value."""

    mask: Callable[[str], str]


def sections(schema: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return the model of each section's table, by the section's name."""
    return {
        name: cast("type[BaseModel]", get_args(field.annotation)[0] if is_array(schema, name) else field.annotation)
        for name, field in schema.model_fields.items()
    }


def is_array(schema: type[BaseModel], section: str) -> bool:
    """Whether the section is an array of tables (`[[model]]`) rather than one table."""
    return get_origin(schema.model_fields[section].annotation) is tuple


def faults(error: ValidationError, schema: type[BaseModel], document: object, origins: Origins) -> tuple[str, ...]:
    """Return one line for each fault that pydantic found in `document`, in the order of the schema."""
    lines = []
    for detail in error.errors(include_url=False, include_input=False):
        location, kind = detail["loc"], detail["type"]
        if kind == "default_factory_not_called":
            continue  # a default that depends on another key, whose own fault is in the list
        if kind == "extra_forbidden":
            lines.append(_unknown_key(location, schema, document))
            continue
        label = origins.get(location, FROM_FILE)
        label = key_path(location) if label == FROM_FILE else label
        field = _field(schema, location)
        found = shown(_value(document, location), field, limit_chars=MAX_SHOWN_CHARS)
        own_words = detail.get("ctx", {}).get("error")
        expected = str(own_words) if kind == "value_error" else _expected(schema, location, field)
        lines.append(f"{label}: found {found}, expected {expected}")
    return tuple(lines)


def effective_lines(config: BaseModel, origins: Origins) -> Iterator[str]:
    """Yield the whole configuration as TOML, without its secrets, each key with where its value came from."""
    schema = type(config)
    for section in sections(schema):
        value = getattr(config, section)
        tables = enumerate(value) if is_array(schema, section) else ((None, value),)
        for index, table in tables:
            yield f"[{section}]" if index is None else f"[[{section}]]"
            for key, field in type(table).model_fields.items():
                location: Location = (section, key) if index is None else (section, index, key)
                yield _effective_line(key, getattr(table, key), field, origins.get(location, "default"))


def _effective_line(key: str, value: object, field: FieldInfo, origin: str) -> str:
    """Return one key as a line of TOML; a key that is not set has no value in TOML, so it becomes a comment."""
    if value is None or value == "":
        return f"# {key} is not set"
    return f"{key} = {shown(value, field)}  # {origin}"


def key_path(location: Location) -> str:
    """Return the location as it is written in faults: `model[0].url`; unusual keys are quoted, as in TOML."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        name = part if _BARE_KEY.fullmatch(part) else quoted(part)
        path += ("." if path else "") + (name if len(name) <= MAX_SHOWN_CHARS else name[:MAX_SHOWN_CHARS] + "…")
    return path


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the one of `known` that is most like `word`."""
    return max(known, key=lambda name: _likeness(word, name))


def shown(value: object, field: FieldInfo | None = None, *, limit_chars: int | None = None) -> str:
    """Return the value as TOML would write it, on one line, private values masked; a table or list only by kind,
    unless it holds nothing but whole numbers, or is a key's list of texts."""
    if value is None:
        return "nothing"
    if isinstance(value, SecretStr) or (field is not None and _is_secret(field)):
        return '"***"'
    if isinstance(value, bool):
        return "true" if value else "false"
    is_key = field is not None
    if isinstance(value, tuple) and (_are_numbers(value) or (is_key and all(isinstance(item, str) for item in value))):
        items = ", ".join(quoted(item) if isinstance(item, str) else str(item) for item in value)
        return f"[{items if limit_chars is None or len(items) <= limit_chars else items[:limit_chars] + '…'}]"
    if isinstance(value, dict | list | tuple):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, int | float):
        # Python refuses to print a number of thousands of digits, which TOML can hold in hexadecimal.
        return repr(value) if abs(value) < MAX_SHOWN_NUMBER or value != value else "a huge number"
    text = str(value)
    for mark in _marks(field) if field is not None else ():
        text = mark.mask(text)
    if limit_chars is not None and len(text) > limit_chars:
        text = text[:limit_chars] + "…"
    return quoted(text)


def _are_numbers(values: tuple[object, ...]) -> bool:
    return all(type(item) is int and abs(item) < MAX_SHOWN_NUMBER for item in values)


def quoted(text: str) -> str:
    """Return a TOML basic string on one line: everything that does not print is escaped."""
    escaped = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped)


def _expected(schema: type[BaseModel], location: Location, field: FieldInfo | None) -> str:
    """Return what the schema wants at a location: a key's description, or the shape of a section."""
    if field is not None:
        return field.description or "another value"
    section = str(location[0])
    return f"tables, each written [[{section}]]" if is_array(schema, section) else f"a table, written [{section}]"


def _unknown_key(location: Location, schema: type[BaseModel], document: object) -> str:
    """Return the fault of a key or section that does not exist; its value may be a misplaced secret: not shown."""
    models = sections(schema)
    if len(location) == 1 and isinstance(_value(document, location), dict | list | tuple):
        section = str(location[0])
        known = ", ".join(models)
        return f"{key_path(location)}: found an unknown section, expected {known}; nearest: {nearest(section, models)}"
    *place, word = location
    near = max(
        ((section, key) for section, model in models.items() for key in model.model_fields),
        key=lambda known: (_likeness(str(word), known[1]), known[0] in place),
    )
    near_path = key_path((*place, near[1]) if near[0] in place else near)
    known = ", ".join(models[str(place[0])].model_fields) if place else "keys in sections only"
    return f"{key_path(location)}: found an unknown key, expected {known}; nearest: {near_path}"


def _likeness(word: str, name: str) -> float:
    """Return how alike two keys are, 0..1."""
    return difflib.SequenceMatcher(None, word[:MAX_SHOWN_CHARS].lower(), name.lower()).ratio()


def _field(schema: type[BaseModel], location: Location) -> FieldInfo | None:
    """Return the field of the key at `location`, `None` if a section stands there."""
    key = location[-1]
    is_key = len(location) > 1 and isinstance(key, str)
    return sections(schema)[str(location[0])].model_fields[key] if is_key and isinstance(key, str) else None


def _is_secret(field: FieldInfo) -> bool:
    """Whether the key holds a secret (`SecretStr`, or that or nothing)."""
    return SecretStr in (field.annotation, *get_args(field.annotation))


def _marks(field: FieldInfo) -> list[Shown]:
    """Return the key's marks; pydantic leaves those of `Annotated[str, Shown(...)] | None` inside the type."""
    inner = (get_args(kind)[1:] for kind in get_args(field.annotation) if get_origin(kind) is Annotated)
    return [mark for marks in (field.metadata, *inner) for mark in marks if isinstance(mark, Shown)]


def _value(document: object, location: Location) -> object:
    """Return what the document holds at `location`, `None` if the key is not written there."""
    value: Any = document
    for part in location:
        value = value.get(part) if isinstance(value, dict) else value[part]
    return value
