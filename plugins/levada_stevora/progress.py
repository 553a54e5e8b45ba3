"""How far a run was read: the position of its partition."""

from typing import Final

from attrs import asdict, frozen

from levada import Json

KEPT: Final = 100
"""So many ids of a closed partition are kept; see `SourceContext.known`."""


@frozen(kw_only=True)
class Progress:
    """A place in a list of events that only grows at its end, give or take.

    It counts rows and not pages, so the page size may change. What cannot be read is a row too.
    """

    count: int = 0
    """How many of the rows that the list has at present were read."""

    missing: int = 0
    """So many fewer than the total, after all pages were searched: it is not searched again."""

    excess: int = 0
    """So many more than the total, after all pages were read: they are not read again."""

    floor: int = 0
    """The rows before it were read when the run was closed. Their ids are forgotten, so that only
    their place tells that they are known."""

    @classmethod
    def of(cls, position: Json) -> "Progress":
        """Return the progress that a position holds."""
        return cls(**position) if position else cls()

    @property
    def position(self) -> Json:
        """The progress as a position: what is 0 is left out, except for the count."""
        return {name: n for name, n in asdict(self).items() if n or name == "count"}
