"""Message components: action rows with buttons and menus, as far as Discord takes them, with the ids it gives them."""

from tests.discord_server.answers import RestError
from tests.discord_server.guild import Json

ROW, BUTTON, MENU = 1, 2, 3
ROW_LIMIT, BUTTON_LIMIT = 5, 5
LABEL_CHARACTERS, CUSTOM_ID_CHARACTERS = 80, 100
LINK = 5
"""The style of a button that opens an address, and is none of the bot's business."""


def check_components(rows: list[Json]) -> None:
    """Refuse what Discord refuses; raises `RestError`."""
    if len(rows) > ROW_LIMIT or any(row["type"] != ROW or not row.get("components") for row in rows):
        raise _fault("components are up to 5 rows with something in each")
    for row in rows:
        kinds = [component["type"] for component in row["components"]]
        if kinds != [MENU] and (set(kinds) != {BUTTON} or len(kinds) > BUTTON_LIMIT):
            raise _fault("a row holds up to 5 buttons, or one menu")
    used = [component for component in components_of(rows) if component.get("style") != LINK]
    names = [str(component.get("custom_id") or "") for component in used]
    if len(set(names)) < len(names) or not all(1 <= len(name) <= CUSTOM_ID_CHARACTERS for name in names):
        raise _fault("custom_id: 1 to 100 characters, each only once")
    buttons = [component for component in used if component["type"] == BUTTON]
    if any(len(str(button.get("label") or "")) not in range(1, LABEL_CHARACTERS + 1) for button in buttons):
        raise _fault("label: 1 to 80 characters")


def numbered(rows: list[Json]) -> list[Json]:
    """Return components with ids, which Discord counts through where a bot has given none."""
    number = 0
    shown = []
    for row in rows:
        number += 1
        inside = []
        row_id = row.get("id") or number
        for component in row.get("components", []):
            number += 1
            inside.append({"id": number} | component)
        shown.append(row | {"id": row_id, "components": inside})
    return shown


def components_of(rows: list[Json]) -> list[Json]:
    """Return what stands in the rows."""
    return [component for row in rows for component in row.get("components", [])]


def _fault(text: str) -> RestError:
    return RestError(400, 50035, f"Invalid Form Body: {text}")
