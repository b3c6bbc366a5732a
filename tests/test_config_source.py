"""`read`: a TOML file and the environment become one configuration, of a schema made up here."""

import os
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from plexbridge.config_faults import FROM_FILE, effective_lines
from plexbridge.config_source import MAX_FILE_BYTES, read, variables
from plexbridge.errors import ConfigError


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Thing(Table):
    size: int = Field(default=1, description="a whole number")
    home: Path | None = Field(default=None, description="a path")


class Door(Table):
    token: SecretStr | None = Field(default=None, description="a token")
    key: SecretStr = Field(default=SecretStr("preset"), description="a key")
    is_open: bool = Field(default=False, description="true or false")
    width: float | None = Field(default=0.5, description="a number")
    label: str = Field(default="x", description="a text")


class House(Table):
    thing: tuple[Thing, ...] = ()
    door: Door = Door()


FILE = "house.toml"


@pytest.fixture(autouse=True)
def _empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read_text(text: str | bytes, **environ: str) -> House:
    Path(FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(House, Path(FILE), environ)[0]


def faults_of(text: str | bytes, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read_text(text, **environ)
    return caught.value.faults


def test_each_key_has_one_variable() -> None:
    assert variables(House) == {
        "PLEXBRIDGE_THING_SIZE": ("thing", "size"),
        "PLEXBRIDGE_THING_HOME": ("thing", "home"),
        "PLEXBRIDGE_DOOR_TOKEN": ("door", "token"),
        "PLEXBRIDGE_DOOR_KEY": ("door", "key"),
        "PLEXBRIDGE_DOOR_IS_OPEN": ("door", "is_open"),
        "PLEXBRIDGE_DOOR_WIDTH": ("door", "width"),
        "PLEXBRIDGE_DOOR_LABEL": ("door", "label"),
    }


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("IS_OPEN", "true", True),
        ("IS_OPEN", " ON ", True),
        ("IS_OPEN", "1", True),
        ("IS_OPEN", "yes", True),
        ("IS_OPEN", "False", False),
        ("IS_OPEN", "off", False),
        ("IS_OPEN", "0", False),
        ("IS_OPEN", "no", False),
        ("WIDTH", "2", 2.0),
        ("WIDTH", "1.5", 1.5),
        ("WIDTH", "", None),
        ("LABEL", "12", "12"),
        ("LABEL", "", ""),
    ],
)
def test_text_from_the_environment_becomes_the_type_of_its_key_and_wins_over_the_file(
    variable: str, text: str, value: object
) -> None:
    house = read_text(
        f'[door]\nis_open = {str(not value).lower()}\nwidth = 9\nlabel = "file"\n',
        **{f"PLEXBRIDGE_DOOR_{variable}": text},
    )

    assert getattr(house.door, variable.lower()) == value


@pytest.mark.parametrize(
    ("variable", "fault"),
    [
        ("PLEXBRIDGE_THING_SIZE", 'PLEXBRIDGE_THING_SIZE: found "maybe", expected a whole number'),
        ("PLEXBRIDGE_DOOR_IS_OPEN", 'PLEXBRIDGE_DOOR_IS_OPEN: found "maybe", expected true or false'),
        ("PLEXBRIDGE_DOOR_WIDTH", 'PLEXBRIDGE_DOOR_WIDTH: found "maybe", expected a number'),
    ],
)
def test_text_from_the_environment_that_does_not_fit_is_named_by_its_variable(variable: str, fault: str) -> None:
    assert faults_of("", **{variable: "maybe"}) == (fault,)


@pytest.mark.parametrize("text", ["", "thing = []"])
def test_a_variable_of_an_array_of_tables_makes_the_first_entry(text: str) -> None:
    assert read_text(text, PLEXBRIDGE_THING_SIZE="7").thing == (Thing(size=7),)


def test_a_variable_of_an_array_of_tables_sets_the_first_entry_only() -> None:
    house = read_text("[[thing]]\nsize = 1\n[[thing]]\nsize = 2\n", PLEXBRIDGE_THING_SIZE="7")

    assert [thing.size for thing in house.thing] == [7, 2]


@pytest.mark.parametrize("text", ["thing = 3\ndoor = 3", "thing = [3]\ndoor = [3]"])
def test_a_variable_of_a_section_that_is_no_table_leaves_the_fault_to_the_section(text: str) -> None:
    faults = faults_of(text, PLEXBRIDGE_THING_SIZE="7", PLEXBRIDGE_DOOR_LABEL="y")

    assert [fault.partition(":")[0].removesuffix("[0]") for fault in faults] == ["thing", "door"]


def test_an_unknown_variable_is_a_fault_with_the_nearest_one_and_its_value_is_not_shown() -> None:
    assert faults_of("", PLEXBRIDGE_DOOR_TOKKEN="geheim", PLEX="1", OTHER="1") == (
        "PLEXBRIDGE_DOOR_TOKKEN: found an unknown variable, expected a known one; nearest: PLEXBRIDGE_DOOR_TOKEN",
    )


def test_variables_work_without_a_file() -> None:
    house, origins = read(House, None, {"PLEXBRIDGE_DOOR_LABEL": "y"})

    assert (house.door.label, origins) == ("y", {("door", "label"): "PLEXBRIDGE_DOOR_LABEL"})


def test_bytes_that_are_no_text_in_a_variable_are_a_fault_of_that_variable() -> None:
    not_utf8 = os.fsdecode(b"caf\xe9")

    (fault,) = faults_of("", PLEXBRIDGE_DOOR_LABEL=not_utf8)

    assert fault == "PLEXBRIDGE_DOOR_LABEL: found bytes that are not UTF-8, expected UTF-8 text"


def test_paths_are_relative_to_the_file_or_to_the_working_directory_in_the_environment(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / FILE).write_text('[[thing]]\nhome = "a/b"\n[[thing]]\nhome = "/c"\n')
    path = Path("etc", FILE)

    from_file = read(House, path, {})[0]
    from_environment = read(House, path, {"PLEXBRIDGE_THING_HOME": "d"})[0]

    assert [thing.home for thing in from_file.thing] == [folder / "a/b", Path("/c")]
    assert from_environment.thing[0].home == tmp_path / "d"


def test_a_path_in_the_environment_may_be_empty_for_none() -> None:
    assert read_text('[[thing]]\nhome = "a"\n', PLEXBRIDGE_THING_HOME="").thing[0].home is None


@pytest.mark.parametrize("value", ['""', '"\\u0000"', "3"])
def test_what_can_be_no_path_is_a_fault(value: str) -> None:
    (fault,) = faults_of(f"[[thing]]\nhome = {value}\n")

    assert fault.startswith("thing[0].home: found ")
    assert fault.endswith(", expected a path")


def test_origins_tell_the_file_the_variable_and_nothing_for_a_default() -> None:
    Path(FILE).write_text("[[thing]]\nsize = 3\n[door]\nwidth = 1\n")

    origins = read(House, Path(FILE), {"PLEXBRIDGE_DOOR_WIDTH": "2"})[1]

    assert origins == {("thing", 0, "size"): FROM_FILE, ("door", "width"): "PLEXBRIDGE_DOOR_WIDTH"}


def test_secrets_are_read_and_shown_as_three_stars() -> None:
    Path(FILE).write_text('[door]\nkey = "sesame"\n')

    house, origins = read(House, Path(FILE), {"PLEXBRIDGE_DOOR_TOKEN": "sesame"})
    lines = list(effective_lines(house, origins))

    assert [secret and secret.get_secret_value() for secret in (house.door.token, house.door.key)] == ["sesame"] * 2
    assert lines[:3] == ["[door]", 'token = "***"  # PLEXBRIDGE_DOOR_TOKEN', 'key = "***"  # file']
    assert "# token is not set" in list(effective_lines(House(), {}))


def test_a_secret_of_the_wrong_type_is_shown_as_three_stars() -> None:
    assert faults_of('[door]\ntoken = ["sesame"]\nkey = 123456\n') == (
        'door.token: found "***", expected a token',
        'door.key: found "***", expected a key',
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[door]\nlabel = x\n", "line 2, column 9"),
        ("[door]\n\nlabel\n", "line 3, column 6"),
        ('[door]\nlabel = "geheim', "line 2, at the end"),
        ("x = 1\nx = 2\n", "line 2, column 6"),
    ],
)
def test_what_is_not_toml_is_named_with_its_place_and_without_its_value(text: str, place: str) -> None:
    (fault,) = faults_of(text)

    assert fault.startswith(f'"{FILE}" {place}: found what is not TOML: ')
    assert "geheim" not in fault


@pytest.mark.parametrize(
    "text", [f"x = {'9' * 5000}", "x = " + "[" * 5000, "x = " + "{a = " * 5000], ids=["digits", "lists", "tables"]
)
def test_toml_beyond_reason_is_a_fault_like_any_other(text: str) -> None:
    (fault,) = faults_of(text)

    assert fault.startswith(f'"{FILE}"')
    assert "expected TOML" in fault


def test_a_byte_order_mark_and_windows_line_ends_are_accepted() -> None:
    assert read_text(b'\xef\xbb\xbf[door]\r\nlabel = "y"\r\n').door.label == "y"


def test_utf_16_is_named() -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        assert faults_of("\ufeff[door]\n".encode(encoding)) == (
            f'"{FILE}": found UTF-16 text, expected UTF-8: save the file as UTF-8',
        )


def test_bytes_that_are_not_utf_8_are_named_with_their_line() -> None:
    assert faults_of('[door]\n\nlabel = "café"\n'.encode("latin-1")) == (
        f'"{FILE}" line 3: found bytes that are not UTF-8, expected UTF-8 text',
    )


def test_a_file_of_any_other_kind_is_refused_before_it_is_read_whole() -> None:
    assert faults_of(b"#" * (MAX_FILE_BYTES + 1)) == (f'"{FILE}": found more than 256 KiB, expected a TOML file',)
    assert read_text(b"#" * MAX_FILE_BYTES) == House()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("missing.toml", '"missing.toml": found no such file, expected a TOML file'),
        ("folder", '"folder": found a directory, expected a TOML file'),
        ("loop", '"loop": found a file that can\'t be read (Too many levels of symbolic links)'),
    ],
)
def test_a_file_that_can_not_be_read_is_named(name: str, fault: str) -> None:
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")

    with pytest.raises(ConfigError) as caught:
        read(House, Path(name), {"PLEXBRIDGE_DOOR_LABL": "x"})

    assert caught.value.faults[0] == fault
    assert caught.value.faults[1].startswith("PLEXBRIDGE_DOOR_LABL: ")


def test_faults_of_the_file_and_of_unknown_variables_come_together() -> None:
    faults = faults_of("[door]\nwidth = true\n", PLEXBRIDGE_DOOR_LABL="x")

    assert [fault.partition(":")[0] for fault in faults] == ["door.width", "PLEXBRIDGE_DOOR_LABL"]
