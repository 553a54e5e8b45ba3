"""Runs one check: a loop of its own, a time limit, and an eye on what is left open."""

import asyncio
import gc
import time
import warnings
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from levada.testing.verdict import listed, require

T = TypeVar("T")

WIND_UP_S = 1.0
"""How long tasks, sockets and files may take to go away by themselves."""

_DESCRIPTORS = Path("/dev/fd")


def run(work: Coroutine[Any, Any, T], *, timeout_s: float) -> T:
    """Run *work* in a loop of its own; unlike `asyncio.run`, never wait for ever.

    Raises:
        AssertionError: it did not end in time.
    """
    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(work)
        loop.run_until_complete(asyncio.wait({task}, timeout=timeout_s))
        require(task.done(), f"it did not end within {timeout_s:g} s; what does it wait for?")
        return task.result()
    finally:
        _wind_up(loop)


def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
    if tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=WIND_UP_S))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


async def require_no_tasks(before: set["asyncio.Task[Any]"]) -> None:
    """Fail if a task beyond *before* goes on for longer than it may need to end."""
    others = asyncio.all_tasks() - before
    left = (await asyncio.wait(others, timeout=WIND_UP_S))[1] if others else set()
    names = [getattr(task.get_coro(), "__qualname__", task.get_name()) for task in left]
    require(
        not left,
        f"tasks are left running: {listed(names)}. Use asyncio.TaskGroup, or cancel and await "
        "them in a `finally` and in close()",
    )


@contextmanager
def nothing_left_open() -> Iterator[None]:
    """Fail if the body leaves a socket or a file open, or to the garbage collector to close."""
    gc.collect()
    before = _descriptors()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    dropped = [str(each.message) for each in caught if each.category is ResourceWarning]
    advice = "Close it in a `finally`, or with `with`, also when cancelled"
    require(not dropped, f"left to the garbage collector: {listed(dropped)}. {advice}")
    left = _left_open(before)
    require(not left, f"left open: {listed(left)}. {advice}")


def _left_open(before: set[str]) -> set[str]:
    """Return what is open beyond *before*; the other end of a connection may need a moment."""
    give_up = time.monotonic() + WIND_UP_S
    while (left := _descriptors() - before) and time.monotonic() < give_up:
        time.sleep(0.01)
    return left


def _descriptors() -> set[str]:
    """Return what is open, as the system names it: a path, ``socket:[…]``, else a number."""
    if not _DESCRIPTORS.is_dir():
        return set()
    return {name for each in _DESCRIPTORS.iterdir() if (name := _name(each))}


def _name(descriptor: Path) -> str | None:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:  # the one that listed the others
        return None
    except OSError:  # no link: not Linux
        return descriptor.name
