"""A process that stores rising numbers, and says each one that it has been confirmed; for the tests that kill it."""

import sys

import trio

from plexbridge.store.settings import open_store


async def write(url: str, person_id: str, count: int) -> None:
    """Store the numbers from 1 to `count`, as a person's voice."""
    async with open_store(url) as store:
        for number in range(1, count + 1):
            await store.set_voice(person_id, str(number))
            print(number, flush=True)


if __name__ == "__main__":
    trio.run(write, sys.argv[1], sys.argv[2], int(sys.argv[3]))
