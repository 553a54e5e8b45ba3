"""The event loop of a command, which nothing that a plugin began in it can end."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import nullcontext
from typing import Any, TypeVar

from levada.errors import PluginError

log: logging.Logger = logging.getLogger("levada.cli")

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], runner: asyncio.Runner | None = None) -> T:
    """Run *work* to its end as `asyncio.run` does, in the loop of *runner* if there is one.

    A `SystemExit` in another task, or somebody's ``loop.stop()``, would have `asyncio.run` return
    in the middle of it.

    Raises:
        PluginError: *work* itself was cancelled.
    """
    with nullcontext(runner) if runner else asyncio.Runner() as chosen:
        return _run(work, chosen)


def _run(work: Coroutine[Any, Any, T], runner: asyncio.Runner) -> T:
    main = runner.get_loop().create_task(work)
    said = False
    while not main.done():
        try:
            runner.run(_ended(main))
        except (SystemExit, RuntimeError, asyncio.CancelledError):
            # Somebody ended the process, stopped the loop, or cancelled what he did not begin.
            if not said:
                log.warning("something that a plugin began tried to end the process; going on")
            said = True
    if main.cancelled():
        raise PluginError("unknown", "cancelled the whole command: tasks that it did not begin")
    return main.result()


async def _ended(main: "asyncio.Task[Any]") -> None:
    try:
        await asyncio.wait([main])
    except asyncio.CancelledError:  # Ctrl-C
        main.cancel()
        await asyncio.wait([main])
        raise
