"""`python -m benchmarks.page_pictures`: the pictures of the page in docs/, made anew.

A Chromium without a screen talks to `plexbridge run` and to the model server of the tests, whose only place is taken by
another page where the queue is shown. Wide and small screens, light and dark; the colours are cut down to 128, which
nobody sees and which leaves a third of the size.
"""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.browser import UNPROCESSED, launch_chromium, open_page, run_web, wait_state, write_microphone
from tests.interop.environment import run_model_server

DOCS = Path(__file__).parents[1] / "docs"
WIDE, SMALL = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
TALK_SECONDS = 9.0
"""Until the picture of both voices is full."""
COLOURS = 128


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture."""

    name: str
    state: str
    scheme: str
    screen: dict[str, int]


SHOTS = (
    Shot("page", "talking", "light", WIDE),
    Shot("page-idle", "idle", "light", WIDE),
    Shot("page-dark", "talking", "dark", WIDE),
    Shot("page-loopback", "loopback", "dark", WIDE),
    Shot("page-queue", "queue", "light", WIDE),
    Shot("page-phone-idle", "idle", "dark", SMALL),
    Shot("page-phone", "talking", "light", SMALL),
    Shot("page-phone-dark", "talking", "dark", SMALL),
    Shot("page-phone-queue", "queue", "dark", SMALL),
)


@contextmanager
def bring_to(browser: Browser, address: str, shot: Shot) -> Iterator[Page]:
    """Yield a page in the state that is wanted."""
    options = {"color_scheme": shot.scheme, "viewport": shot.screen}
    with open_page(browser, address, UNPROCESSED, **options) as page:
        if shot.state == "loopback":
            page.get_by_role("radio", name="Do I hear myself?").check()
        if shot.state != "idle":
            page.get_by_role("button", name="Talk").click()
            wait_state(page, "queue" if shot.state == "queue" else "talking")
            page.wait_for_timeout(1000 * TALK_SECONDS)
        yield page


def save(page: Page, path: Path) -> None:
    """Write what is seen to a small file."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Make them all."""
    with tempfile.TemporaryDirectory() as name, run_model_server() as model:
        folder = Path(name)
        with (
            run_web(folder, MODEL_URL=model.url, MODEL_DIALECT="personaplex") as (_, address),
            launch_chromium(write_microphone(folder, seconds=8.0)) as browser,
        ):
            for shot in (shot for shot in SHOTS if shot.state != "queue"):
                with bring_to(browser, address, shot) as page:
                    save(page, DOCS / f"{shot.name}.png")
            with bring_to(browser, address, SHOTS[0]):
                for shot in (shot for shot in SHOTS if shot.state == "queue"):
                    with bring_to(browser, address, shot) as page:
                        save(page, DOCS / f"{shot.name}.png")
    for shot in SHOTS:
        path = DOCS / f"{shot.name}.png"
        print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
