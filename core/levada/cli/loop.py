"""The event loop of a command, which nothing that a plugin began in it can end."""

import asyncio
import gc
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Final, TypeVar, TypeVarTuple

from levada.errors import PluginError
from levada.host import CALLED

log: logging.Logger = logging.getLogger("levada.cli")

T = TypeVar("T")

Ts = TypeVarTuple("Ts")

LEAVE_S: Final = 0.5
"""What tasks that plugins have left behind get to end once the work is done."""


class Loop(asyncio.SelectorEventLoop):
    """Notes which of its threads are at work for which connector."""

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> "asyncio.Future[T]":
        """Call *func* in a thread, as `asyncio.to_thread` has it done."""
        ctx = CALLED.get(None)
        if executor is not None or ctx is None:
            return super().run_in_executor(executor, func, *args)

        def noted() -> T:
            thread = threading.get_ident()
            ctx.threads.add(thread)
            try:
                return func(*args)
            finally:
                ctx.threads.discard(thread)

        return super().run_in_executor(None, noted)


def run(main: "asyncio.Task[Any]", loop: asyncio.AbstractEventLoop) -> None:
    """Run *loop* until *main* is done.

    A `SystemExit` in another task, or somebody's ``loop.stop()``, would have `asyncio.run` return
    in the middle of it.
    """
    said = False
    while not main.done():
        try:
            loop.run_until_complete(asyncio.wait([main]))
        except (SystemExit, RuntimeError, asyncio.CancelledError, KeyboardInterrupt):
            # Somebody ended the process, stopped the loop, or cancelled what he did not begin.
            if not said:
                log.warning("something that a plugin began tried to end the process; going on")
            said = True


def result_of(main: "asyncio.Task[T]") -> T:
    """Return what *main* returned, or raise what it raised.

    Raises:
        PluginError: it was cancelled.
    """
    if main.cancelled():
        raise PluginError("unknown", "cancelled the whole command: tasks that it did not begin")
    return main.result()


def close(loop: asyncio.AbstractEventLoop, *, patient: bool) -> None:
    """Cancel what is left in *loop*, and close it.

    If *patient*, wait for all of it, threads too, as `asyncio.run` does; else not for what never
    ends.
    """
    loop.set_exception_handler(lambda *_: None)  # what is left behind would be told of
    limit_s = None if patient else LEAVE_S
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    ended = _wait(loop, left, limit_s)
    generators = loop.create_task(loop.shutdown_asyncgens())
    ended &= _wait(loop, {generators}, limit_s)
    if not ended:
        gc.freeze()  # what does not heed its end must not be taken apart: it would go on right then
        return
    if patient:
        loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def _wait(
    loop: asyncio.AbstractEventLoop, tasks: "set[asyncio.Task[Any]]", limit_s: float | None
) -> bool:
    """Wait for *tasks*, whatever one of them raises meanwhile; return whether all have ended."""
    if tasks:
        with suppress(SystemExit, RuntimeError, KeyboardInterrupt):
            loop.run_until_complete(asyncio.wait(tasks, timeout=limit_s))
    return all(task.done() for task in tasks)
