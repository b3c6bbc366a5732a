"""A thousand joins and leaves with real sockets, threads and end-to-end encryption leave nothing behind."""

import pytest

from benchmarks.joins import run_rounds

ROUNDS = 1_000
POOL_THREADS = 3
"""The portal's pool has up to four workers, which come when they are first needed: the first join needs one."""
MEMORY_LIMIT_BYTES = 3_000_000
"""What 500 rounds may add, the log that pytest keeps among it: one codec left behind in each would be five times as
much, one TLS connection more."""


@pytest.mark.live
@pytest.mark.cancellation
async def test_a_thousand_joins_and_leaves_leave_everything_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = await run_rounds(ROUNDS)

    with capsys.disabled():
        print("", *outcome.lines(), sep="\n")
    before, after = outcome.before, outcome.after
    assert after.tasks == before.tasks
    # A connection to REST that nobody uses is closed after a while.
    assert after.descriptors <= before.descriptors
    assert after.threads - before.threads <= POOL_THREADS
    assert after.memory_bytes - outcome.halfway.memory_bytes < MEMORY_LIMIT_BYTES
    assert outcome.slowest_end_seconds <= 1.0
