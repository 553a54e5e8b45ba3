"""A third party's plugin that has everything wrong: it shows its secret wherever it can."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from attrs import define

from levada import Delivery, Fatal, Secret, Sink, SinkContext, hookimpl, option

log = logging.getLogger("leaky")

WAYS = ("log", "raise", "crash", "report")


@define
class LeakySink(Sink):
    """Shows its secret in the way it is told to."""

    name: ClassVar[str] = "leaky"

    key: Secret = option(help="The secret.")
    way: str = option(default="log", help="How to show it.")

    async def write(self, delivery: Delivery, ctx: SinkContext) -> None:
        """Show the secret."""
        value = self.key.reveal()
        if self.way == "log":
            log.warning("sent %s and\n%r", value, {"key": value})
            try:
                self._stumble(value)
            except ValueError:
                log.warning("failed", exc_info=True)
        elif self.way == "raise":
            raise Fatal(f"refused with {value}")
        elif self.way == "report":
            ctx.report("leaky.key", key=value)
        else:
            self._stumble(value)

    @staticmethod
    def _stumble(value: str) -> None:
        raise ValueError(f"cannot read {value!r}")


@hookimpl
def event_sinks() -> Iterable[type[Sink]]:
    """Offer `LeakySink`."""
    return [LeakySink]


def install(folder: Path) -> None:
    """Put this plugin into *folder* as an installed distribution, for a PYTHONPATH."""
    dist = folder / "levada_leaky-1.dist-info"
    dist.mkdir(parents=True)
    (dist / "METADATA").write_text("Metadata-Version: 2.1\nName: levada-leaky\nVersion: 1\n")
    (dist / "entry_points.txt").write_text("[levada]\nleaky = levada_leaky\n")
    (folder / "levada_leaky.py").write_text(Path(__file__).read_text())
