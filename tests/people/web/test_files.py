"""The page's files, as they are served."""

from pathlib import Path

import pytest

import plexbridge.people.web
from plexbridge.people.web import files
from plexbridge.people.web.files import PageFile, read_page
from plexbridge.people.web.http import Request

PAGE = Path(plexbridge.people.web.__path__[0]) / "page"


def asked(**headers: str) -> Request:
    return Request("GET", "/", {name.replace("_", "-"): value for name, value in headers.items()})


def test_every_file_has_one_address_and_the_index_is_the_root() -> None:
    paths = {path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.is_file()}

    assert set(read_page()) == {"/" if path == "index.html" else f"/page/{path}" for path in paths}
    assert "/" in read_page()


def test_a_stray_file_is_not_served_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page").mkdir()
    for name in ("index.html", "a.js", "a.js.orig", ".DS_Store", "README"):
        (tmp_path / "page" / name).write_text("x")
    monkeypatch.setattr(files, "files", lambda package: tmp_path)

    assert set(read_page()) == {"/", "/page/a.js"}


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.min.js", "text/javascript; charset=utf-8"),
        ("b/a.css", "text/css; charset=utf-8"),
        ("a.svg", "image/svg+xml"),
    ],
)
async def test_a_browser_is_told_what_a_file_is_and_to_ask_each_time(name: str, content_type: str) -> None:
    response = await PageFile(name, b"content").answer(asked())

    assert (response.status, response.body, response.content_type) == (200, b"content", content_type)
    assert response.headers["cache-control"] == "no-cache"


async def test_a_file_that_the_browser_has_is_not_sent_again_until_it_changes() -> None:
    file = PageFile("a.js", b"content")
    tag = (await file.answer(asked())).headers["etag"]

    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        again = await file.answer(asked(if_none_match=known))
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert (await file.answer(asked(if_none_match='"other"'))).status == 200
    assert (await PageFile("a.js", b"changed").answer(asked(if_none_match=tag))).status == 200
