"""The project's own rules: formatting, lint and types, checked by the tools that people use."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "arguments", [("ruff", "format", "--check", "--diff"), ("ruff", "check"), ("mypy",)], ids=" ".join
)
def test_the_sources_pass(arguments: tuple[str, ...]) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )

    assert completed.returncode == 0, completed.stdout + completed.stderr
