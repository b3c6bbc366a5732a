"""`python -m tests.counted_bridge run`: plexbridge itself, which on SIGUSR1 also says on stderr what it has.

Trio's and asyncio's tasks can be counted only from inside their process.
"""

import asyncio
import gc
import json
import os
import signal
import sys
import threading

import trio

from plexbridge.__main__ import main

PREFIX = "counted: "


def _report(signal_number: int, frame: object) -> None:
    gc.collect()
    loops = [each for each in gc.get_objects() if isinstance(each, asyncio.AbstractEventLoop) and each.is_running()]
    counts = {
        "trio_tasks": _tasks(trio.lowlevel.current_root_task()),
        "asyncio_tasks": sum(len(asyncio.all_tasks(loop)) for loop in loops),
        # Trio keeps idle worker threads for ten seconds.
        "threads": sum(not thread.name.startswith("Trio") for thread in threading.enumerate()),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }
    os.write(sys.stderr.fileno(), f"{PREFIX}{json.dumps(counts)}\n".encode())


def _tasks(task: trio.lowlevel.Task | None) -> int:
    if task is None:
        return 0
    return 1 + sum(_tasks(child) for nursery in task.child_nurseries for child in nursery.child_tasks)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _report)
    main()
