"""From a device's thread to a trio task: convaid's ring, and the two ways that trio itself has.

Writes JSON: for each condition and way, for each round, the seconds from the thread's call to the task's next line.
Arguments: how many rounds; how many blocks in each.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter

import trio

from convaid.devices.ring import CaptureRing

BLOCK = bytes(range(64)) * 10  # 20 ms
INTERVAL = 0.004  # seconds between two blocks: not too long to measure, and long enough for everything to fall asleep
WORK = 0.002  # seconds that the loop is busy, and then not, again and again
Put = Callable[[bytes], object]
Read = Callable[[], Awaitable[object]]


def open_ring() -> tuple[Put, Read]:
    ring = CaptureRing(16_000)
    return ring.put, ring.read


def open_soon() -> tuple[Put, Read]:
    give, take = trio.open_memory_channel[bytes](math.inf)
    token = trio.lowlevel.current_trio_token()
    return lambda block: token.run_sync_soon(give.send_nowait, block), take.receive


def open_from_thread() -> tuple[Put, Read]:
    give, take = trio.open_memory_channel[bytes](math.inf)
    token = trio.lowlevel.current_trio_token()
    return lambda block: trio.from_thread.run_sync(give.send_nowait, block, trio_token=token), take.receive


WAYS = {"ring": open_ring, "soon": open_soon, "from_thread": open_from_thread}


async def wake(put: Put, read: Read, count: int) -> list[float]:
    """The seconds that each block took."""
    given: deque[float] = deque()

    def be_device() -> None:
        due = perf_counter()
        for _ in range(count):
            due = max(due + INTERVAL, perf_counter())
            time.sleep(max(0.0, due - perf_counter()))
            given.append(perf_counter())
            put(BLOCK)

    device = threading.Thread(target=be_device)
    device.start()
    took = []
    for _ in range(count):
        await read()
        took.append(perf_counter() - given.popleft())
    await trio.to_thread.run_sync(device.join)
    return took


async def be_busy() -> None:
    while True:
        end = perf_counter() + WORK
        while perf_counter() < end:
            pass
        await trio.sleep(WORK)


async def main() -> None:
    rounds, count = map(int, sys.argv[1:])
    found: dict[str, dict[str, list[list[float]]]] = {}
    for number in range(rounds):
        for condition in ("at rest", "busy"):
            async with trio.open_nursery() as nursery:
                if condition == "busy":
                    nursery.start_soon(be_busy)
                for way in list(WAYS)[:: -1 if number % 2 else 1]:
                    took = await wake(*WAYS[way](), count)
                    found.setdefault(condition, {}).setdefault(way, []).append(took)
                nursery.cancel_scope.cancel()
    print(json.dumps(found))


if __name__ == "__main__":
    trio.run(main)
