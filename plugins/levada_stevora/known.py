"""What is known of the lists of runs from earlier passes: the position of the source.

Its size does not depend on how many runs there are. A few closed runs may come back, so they are
remembered by the host; those created a week before the newest one are forgotten, and not looked at
again even if a list shows them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import asdict, define, field, fields, frozen

from levada import Fatal, Json
from levada.page import parse_time
from levada_stevora.client import RunRow
from levada_stevora.order import Order

REMEMBERED: Final = timedelta(days=7)

TIMES: Final = ("looked_at", "newest", "settled")


@frozen(kw_only=True)
class Known:
    """What is known of one list."""

    count: int = 0
    """How many of its rows are accounted for."""

    missing: int = 0
    """So many more the total said there were, when all was searched: it is not searched again."""

    low: int | None = None
    """The latest total, where it was less than `count`; twice in a row, and runs were deleted."""

    order: Order | None = None
    """Which runs come first; None: there were too few to tell."""

    edge: Sequence[str] = ()
    """The ids on the page with the newest runs."""

    since: str | None = None
    """The creation of the oldest of them. What is older was there before."""


@define(kw_only=True)
class Survey:
    """What is known of a workspace."""

    workspace: str | None = None
    definitions: list[str] | None = None
    """The option, as it was; None: there was no pass."""

    lists: dict[str, Known] = field(factory=dict)
    """By the definition that a list is narrowed to; "" for that of all runs."""

    is_blind: bool = False
    """Whether runs do not show their definition, so that each needs a list of its own."""

    has_detail: bool | None = None
    """Whether a run can be asked for by itself; None: it was not tried."""

    absent: list[str] = field(factory=list)
    """The open runs that no list shows, and that were not there by themselves either."""

    looked_at: datetime | None = None
    """When the latest pass began, by the vendor's clock."""

    newest: datetime | None = None
    """The latest creation of a run."""

    settled: datetime | None = None
    """Closed runs created before are forgotten."""

    over: dict[str, bool] = field(factory=dict)
    """Those of the option `runs`, and whether each was read to its end. As it is part of the
    position, what reads add counts until that is stored."""

    @classmethod
    def of(cls, position: Json) -> "Survey":
        """Return the survey that a position holds; what it has besides is of another version."""
        names = {each.name for each in fields(cls)}
        saved = {name: value for name, value in (position or {}).items() if name in names}
        for name in TIMES:
            saved[name] = parse_time(saved.get(name))
        lists = {name: Known(**each) for name, each in saved.pop("lists", {}).items()}
        return cls(lists=lists, **saved)

    @property
    def position(self) -> Json:
        """The survey as a position, without what says nothing."""
        saved = _told(self)
        saved |= {name: saved[name].isoformat() for name in TIMES if name in saved}
        return saved | {"lists": {name: _told(each) for name, each in self.lists.items()}}

    def meet(self, row: RunRow) -> None:
        """Take note of a run.

        Raises:
            Fatal: it is of another workspace.
        """
        shown = self.workspace if row.workspace_id is None else str(row.workspace_id)
        if self.workspace not in {None, shown}:
            raise Fatal(
                f"the API key is for workspace {shown}, but the state is of workspace "
                f"{self.workspace}; use that workspace's key, or another state folder"
            )
        self.workspace = shown
        created = parse_time(row.created_at)
        self.newest = max(filter(None, (self.newest, created)), default=None)

    def settle(self, now: datetime) -> None:
        """Move on what is settled, never back; a creation in the future does not count."""
        if self.newest is not None:
            until = min(self.newest, now) - REMEMBERED
            self.settled = max(self.settled or until, until)


def _told(what: Survey | Known) -> dict[str, Any]:
    """Return the fields that are not as they always begin."""
    blank = type(what)()
    saved = asdict(what, recurse=False)
    return {name: value for name, value in saved.items() if value != getattr(blank, name)}
