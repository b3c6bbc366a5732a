"""What holds for all tests: the order, and Hypothesis.

Modules that take long begin first, so that no worker is busy alone at the end. Hypothesis tries the same examples in
every run, so that a change is judged by what it changes. New examples are looked for by hand:
`pytest --hypothesis-profile=explore`. What they find becomes an `@example`.
"""

import pytest
from hypothesis import settings

LONG = (
    "test_project.py",
    "test_room_cancellation.py",
    "test_cancellation.py",
    "test_discord_faults.py",
    "test_benchmarks.py",
    "test_discord_joins.py",
    "test_discord_run.py",
    "test_call_interop.py",
    "test_discord_commands.py",
    "test_evening.py",
    "test_discord_recovery.py",
    "test_discord_unheard.py",
    "test_discord_endings.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long modules first, the others after them in the order in which they are."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("same")
