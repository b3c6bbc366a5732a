"""The page's pure modules, tested where they are at home: in JavaScript, by the Node.js that comes with Playwright."""

import subprocess
from pathlib import Path

import playwright
import pytest

NODE = Path(playwright.__file__).parent / "driver" / "node"
CORES = sorted((Path(__file__).parent / "page_cores").glob("*.test.mjs"))


@pytest.mark.parametrize("core", CORES, ids=lambda path: path.name.partition(".")[0])
def test_a_core_of_the_page_keeps_its_promises(core: Path) -> None:
    completed = subprocess.run(
        [NODE, "--test", "--test-reporter=tap", core], capture_output=True, text=True, timeout=60, check=False
    )

    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert "\n# pass 0" not in completed.stdout
