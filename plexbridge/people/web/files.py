"""The page: its files, read once, each with the address it is served at."""

import hashlib
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable

from plexbridge.people.web.http import Request, Response

INDEX = "index.html"
FOLDER = "/page/"

_CONTENT_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class PageFile:
    """One file of the page. A browser asks each time whether its copy is still good, and is told so by its tag."""

    def __init__(self, name: str, body: bytes) -> None:
        self._body = body
        self._content_type = _CONTENT_TYPES[name.rpartition(".")[2]]
        self._tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'

    async def answer(self, request: Request) -> Response:
        """Return the file, or that the client has it."""
        known = (tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(","))
        is_known = self._tag in known
        headers = {"etag": self._tag, "cache-control": "no-cache"}
        status = HTTPStatus.NOT_MODIFIED if is_known else HTTPStatus.OK
        return Response(status, b"" if is_known else self._body, self._content_type, headers)


def read_page() -> Mapping[str, PageFile]:
    """Return the page's files by their paths, but for those of an unknown kind.

    `index.html` is `/`, all others are in `/page/`.

    Paths that are asked for are looked up in this table, and never on the disk.
    """
    page = files("plexbridge.people.web") / "page"
    return {
        "/" if name == INDEX else FOLDER + name: PageFile(name, file.read_bytes())
        for name, file in _walk(page, "")
        if name.rpartition(".")[2] in _CONTENT_TYPES
    }


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry
