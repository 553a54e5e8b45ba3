"""The event loop of a command, which nothing that a plugin began in it can end."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from levada.calls import raised_in
from levada.errors import PluginError

log: logging.Logger = logging.getLogger("levada.cli")

T = TypeVar("T")

_OURS = ("asyncio.", "levada.")

LEAVE_S = 0.5
"""What tasks that plugins have left behind get to end once the work is done."""


def run(work: Coroutine[Any, Any, T], runner: asyncio.Runner | None = None) -> T:
    """Run *work* to its end as `asyncio.run` does, in the loop of *runner* if there is one.

    A `SystemExit` in another task, or somebody's ``loop.stop()``, would have `asyncio.run` return
    in the middle of it.

    Raises:
        PluginError: *work* itself was cancelled.
    """
    if runner is not None:
        return _run(work, runner)
    chosen = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
    try:
        return _run(work, chosen)
    finally:
        _close(chosen.get_loop())


def _run(work: Coroutine[Any, Any, T], runner: asyncio.Runner) -> T:
    main = runner.get_loop().create_task(work)
    said = False
    while not main.done():
        try:
            runner.run(_ended(main))
        except (SystemExit, RuntimeError, asyncio.CancelledError, KeyboardInterrupt) as error:
            if isinstance(error, KeyboardInterrupt) and raised_in(error).startswith(_OURS):
                raise  # Ctrl-C: asyncio takes the signal itself
            # Somebody ended the process, stopped the loop, or cancelled what he did not begin.
            if not said:
                log.warning("something that a plugin began tried to end the process; going on")
            said = True
    if main.cancelled():
        raise PluginError("unknown", "cancelled the whole command: tasks that it did not begin")
    return main.result()


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Close *loop*, as `asyncio.Runner` would if it did not wait for what never ends."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    endings = [asyncio.wait(left, timeout=LEAVE_S)] if left else []
    for ending in (*endings, asyncio.wait_for(loop.shutdown_asyncgens(), LEAVE_S)):
        with suppress(SystemExit, RuntimeError, TimeoutError):
            loop.run_until_complete(ending)
    loop.set_exception_handler(lambda *_: None)  # a task that is left behind would be told of
    loop.close()


async def _ended(main: "asyncio.Task[Any]") -> None:
    try:
        await asyncio.wait([main])
    except asyncio.CancelledError:  # Ctrl-C
        main.cancel()
        await asyncio.wait([main])
        raise
