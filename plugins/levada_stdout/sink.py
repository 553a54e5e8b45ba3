"""The stdout sink: lines for the next program, or for the person at the terminal."""

import errno
import os
from datetime import timedelta
from typing import ClassVar

from attrs import define, field

from levada import Closed, Delivery, Failure, Fatal, Json, Retry, Sink, SinkContext
from levada_stdout.outlet import Outlet, Text
from levada_stdout.terminal import Renderer, columns_of, wants_colour

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@define
class StdoutSink(Sink):
    """Prints events to standard output, one line each.

    A line counts as written once the kernel took all of it; a redirected file is synced. No
    line ever starts within another, and nothing else in the process can print between them.
    """

    name: ClassVar[str] = "stdout"
    exclusive: ClassVar[bool] = True
    guarantee: ClassVar[str] = "at least once, as far as the pipe; a crash repeats one delivery"

    patience: ClassVar[timedelta | None] = None  # somebody may be reading, page by page

    _outlet: Outlet | None = field(default=None, init=False, repr=False, eq=False)
    _unfinished: Text | None = field(default=None, init=False, repr=False, eq=False)

    async def open(self, ctx: SinkContext) -> None:  # noqa: ARG002  # nothing of it is needed
        """Take standard output.

        Raises:
            Fatal: it is closed.
        """
        self._outlet = outlet = Outlet.take()
        if outlet.is_file and outlet.is_torn():
            self._unfinished = Text("", b"?\n", [2], at=1)  # ends somebody's unfinished line

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:  # noqa: ARG002
        """Print a delivery.

        What a cancelled or failed write began goes on where it stopped when the same delivery
        comes again; before another delivery, its unfinished line is finished.

        There is a receipt, though nothing reads it: with one, the host notes a delivery before it
        hands over the next, and a crash repeats no more than that one.

        Raises:
            Closed: the reader is gone.
            Retry: the disk that standard output goes to is full.
        """
        outlet = self._outlet
        if outlet is None:
            raise RuntimeError("open() comes first")
        text = self._unfinished
        try:
            if text and text.id != delivery.id:
                await outlet.write(text, stop=text.end_of_line)
            if text is None or text.id != delivery.id:
                text = self._unfinished = Text.of(delivery.id, self._lines(delivery, outlet))
            await outlet.write(text)
        except OSError as error:
            raise self._failure(error, delivery) from None
        await self._sync(outlet)
        self._unfinished = None
        return {"through": delivery.seq}

    async def close(self) -> None:
        """Give standard output back."""
        if self._outlet is None:
            return
        try:
            if self._unfinished:
                self._outlet.finish_line(self._unfinished)
        except OSError:
            pass  # the reader is gone, and so is the line
        finally:
            self._outlet.give_back()
            self._outlet = None

    def _lines(self, delivery: Delivery, outlet: Outlet) -> list[bytes]:
        if not outlet.is_terminal or delivery.format == "raw":
            return list(delivery.lines)
        renderer = Renderer(columns_of(outlet.handle), colour=wants_colour(os.environ))
        return [renderer.line(event) for event in delivery.events]

    async def _sync(self, outlet: Outlet) -> None:
        try:
            await outlet.sync()
        except OSError as error:
            self._unfinished = None  # nobody knows what the disk has: all of it again
            raise _refusal(error) from error

    def _failure(self, error: OSError, delivery: Delivery) -> Failure:
        gone = errno.EIO if self._outlet and self._outlet.is_terminal else errno.EPIPE
        if error.errno not in {errno.EPIPE, gone}:
            return _refusal(error)
        text, self._unfinished = self._unfinished, None
        written = text.whole_lines if text and text.id == delivery.id else 0
        return Closed("the reader of standard output is gone", written=written)


def _refusal(error: OSError) -> Failure:
    if error.errno in _FULL:
        return Retry(f"standard output: {error.strerror}; free some space", everywhere=True)
    return Fatal(f"standard output: {error.strerror}")
