"""A third party's plugin that has everything wrong: it shows its secret wherever it can."""

import logging
import warnings
from collections.abc import AsyncIterator, Iterable
from threading import Thread
from typing import ClassVar

from attrs import define

from levada import (
    Batch,
    ConfigError,
    Delivery,
    Disable,
    Fatal,
    Json,
    Partition,
    Reject,
    Rejected,
    Retry,
    Secret,
    Sink,
    SinkContext,
    Source,
    SourceContext,
    hookimpl,
    option,
)

log = logging.getLogger("leaky")

WAYS = ("log", "log badly", "warn", "raise", "crash", "report", "reject", "retry", "disable")
QUIETLY = ("thread", "finalizer")
EARLY = ("validator", "options")
SOURCE_WAYS = ("crash", "raise", "retry", "reject")


def _is_good(instance: "LeakySink | None", _attribute: object, value: Secret) -> None:
    if instance is not None and instance.way == "validator":
        raise ValueError(f"bad value {value.reveal()}")


@define
class LeakySink(Sink):
    """Shows its secret in the way it is told to."""

    name: ClassVar[str] = "leaky"

    key: Secret = option(help="The secret.", validator=_is_good)
    way: str = option(default="log", help="How to show it.")

    def __attrs_post_init__(self) -> None:
        if self.way == "options":
            raise ConfigError(f"cannot work with {self.key.reveal()}")

    async def write(self, delivery: Delivery, ctx: SinkContext) -> None:  # noqa: C901  # one way each
        """Show the secret."""
        value = self.key.reveal()
        match self.way:
            case "log":
                log.warning("sent %s and\n%r", value, {"key": value})
                try:
                    _stumble(value)
                except ValueError:
                    log.warning("failed", exc_info=True)
            case "log badly":
                log.warning("sent %d", value)
            case "warn":
                warnings.warn(f"no such key: {value}", stacklevel=1)
            case "thread":
                thread = Thread(target=_stumble, args=(value,), name="leaky")
                thread.start()
                thread.join()
            case "finalizer":
                _Finalized(value)
            case "report":
                ctx.report("leaky.key", key=value, all={value: [value]})
            case "raise":
                raise Fatal(f"refused with {value}")
            case "reject":
                raise Reject({(each.partition, each.id): value for each in delivery.events})
            case "retry":
                raise Retry(f"refused with {value}")
            case "disable":
                raise Disable(f"refused with {value}")
            case _:
                _stumble(value)


@define
class LeakySource(Source):
    """Does the same while it reads."""

    name: ClassVar[str] = "leaky"

    key: Secret = option(help="The secret.")
    way: str = option(default="crash", help="How to show it.")

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        """Show the secret."""
        value = self.key.reveal()
        if self.way == "raise":
            raise Fatal(f"refused with {value}")
        if self.way == "retry":
            raise Retry(f"refused with {value}")
        if self.way == "crash":
            _stumble(value)
        yield Batch([], rejected=[Rejected(b"{}", reason=f"no event: {value}")])


class _Finalized:
    def __init__(self, value: str) -> None:
        self._value = value

    def __del__(self) -> None:
        _stumble(self._value)


def _stumble(value: str) -> None:
    raise ValueError(f"cannot read {value!r}")


@hookimpl
def event_sources() -> Iterable[type[Source]]:
    """Offer `LeakySource`."""
    return [LeakySource]


@hookimpl
def event_sinks() -> Iterable[type[Sink]]:
    """Offer `LeakySink`."""
    return [LeakySink]
