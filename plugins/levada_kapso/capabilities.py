"""Routes that not every Kapso offers, and for how long one that was not there is left alone."""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

from attrs import define

from levada import Json, SourceContext
from levada.page import parse_time

Route: TypeAlias = Literal["workflows", "detail", "log_search"]

ASKED_AGAIN_AFTER: Final = timedelta(days=1)


@define
class Capabilities:
    """What the project's server can do, as far as it has shown; part of the position.

    `missing` maps a route to when it answered 404, by our own clock. It is stored as it is when the checkpoint is,
    so what reads find out after discovery has yielded that counts too.
    """

    missing: dict[str, Json]
    _ctx: SourceContext

    def has(self, route: Route) -> bool:
        """Return whether to try a route; also one that is only missed later, by a clock set back since."""
        since = parse_time(self.missing.get(route))
        return since is None or not timedelta(0) <= datetime.now(UTC) - since < ASKED_AGAIN_AFTER

    def miss(self, route: Route, why: object) -> None:
        """Note that a route answered 404 although what it is about exists."""
        if route not in self.missing:
            self._ctx.report("route.missing", route=route, reason=str(why))
        self.missing[route] = datetime.now(UTC).isoformat()
