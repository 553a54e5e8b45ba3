"""The file sink: each event exactly once, whatever crashes."""

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Literal, ParamSpec, TypeVar

from attrs import define, field, validators

from levada import ConfigError, Delivery, Json, Sink, SinkContext, option
from levada_file.faults import translated
from levada_file.intent import Owner
from levada_file.layout import Layout, is_one_file
from levada_file.segment import Mark
from levada_file.writer import Writer

MIB = 1024 * 1024

P = ParamSpec("P")
T = TypeVar("T")


@define
class FileSink(Sink):
    """Appends events as JSON Lines to one file, or to a folder of segments that rotate.

    What a receipt covers stays; what a crash left beyond it is cut off and written again with
    the same bytes. A reader may see up to one such delivery go and come back.
    """

    name: ClassVar[str] = "file"
    guarantee: ClassVar[str] = "exactly once"
    exclusive: ClassVar[bool] = True

    path: Path = option(
        help="One file when it ends in .jsonl or .ndjson (and .gz); otherwise a folder of segments."
    )
    rotate_bytes: int = option(
        default=256 * MIB,
        help="Size at which a folder's next segment begins.",
        validator=validators.ge(1),
    )
    rotate_every: timedelta | None = option(
        default=None, help="Age at which a folder's next segment begins; none: by size alone."
    )
    compress: Literal["none", "gzip"] = option(
        default="none", help='"gzip": one gzip member per delivery. A path in .gz implies it.'
    )
    mode: str = option(
        default="0640",
        help="Permissions of new files, in octal.",
        validator=validators.matches_re("0?[0-7]{3}"),
    )
    batch_size: int = option(
        default=1000, help="Most events in one delivery.", validator=validators.ge(1)
    )

    _writer: Writer | None = field(default=None, init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        self.path = Path(self.path)  # a plain string is what embedders write
        if is_one_file(self.path) and self.rotate_every:
            raise ConfigError("`rotate_every` needs a folder: leave the suffix of `path` out")
        if is_one_file(self.path) and self.compress == "gzip" and not self._gzip:
            raise ConfigError('`compress = "gzip"` needs a `path` that ends in .gz, or a folder')

    @property
    def _gzip(self) -> bool:
        if is_one_file(self.path):
            return self.path.suffix.lower() == ".gz"
        return self.compress == "gzip"

    def identity(self) -> str:
        """Return the absolute path, which is the same through every link that leads there."""
        return str(self._absolute.resolve())

    @property
    def _absolute(self) -> Path:
        return Path(os.path.abspath(self.path))  # noqa: PTH100  # Path.absolute() keeps the ".."

    async def open(self, ctx: SinkContext) -> None:
        """Create the folder where it is missing.

        Raises:
            Fatal: we may not write there, or `path` is of the other kind.
        """
        layout = Layout(self._absolute, gzip=self._gzip, mode=int(self.mode, 8))
        with translated(layout.folder):
            await _to_the_end(layout.prepare)
        self._writer = Writer(
            layout=layout,
            rotate_bytes=self.rotate_bytes,
            rotate_every=self.rotate_every,
            owner=Owner(ctx.journal, ctx.name),
        )

    async def resume(self, receipt: Json, ctx: SinkContext) -> None:  # noqa: ARG002  # see `open`
        """Cut off what *receipt* does not cover. May be called again at any time.

        Raises:
            Fatal: the files are missing, shorter, changed, or hold somebody else's data.
        """
        mark = None if receipt is None else Mark.from_receipt(receipt)
        await _to_the_end(self._open_writer.restore, mark)

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:  # noqa: ARG002
        """Append a delivery and wait for the disk.

        Raises:
            Retry: the disk is full; nothing of the delivery is left in the file.
            Fatal: the disk failed, or somebody else wrote to the file or took it away.
        """
        writer = self._open_writer
        lines = delivery.lines  # made here: in the thread it would fight the loop for the GIL
        mark = await _to_the_end(writer.write, lines)
        writer.committed = mark  # not reached when cancelled: the next write starts over
        return mark.receipt()

    async def close(self) -> None:
        """Close the open segment."""
        if self._writer:
            await _to_the_end(self._writer.close)

    @property
    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise RuntimeError("open() comes first")
        return self._writer


async def _to_the_end(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run *call* in a thread, leaving the loop free; a cancellation waits until it is through."""
    work = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # seen; the next write finds out for itself
        raise
