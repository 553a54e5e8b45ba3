"""Which events a sink wants: `only` and `except`."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from attrs import field, frozen

from levada import codec
from levada.event import Event


@frozen
class Selection:
    """Shell globs over an event's kind, its vendor type and its CloudEvents type.

    Case matters. Without `only` everything is wanted; `excluded` wins over it.
    """

    only: Sequence[str] = ()
    excluded: Sequence[str] = field(default=(), kw_only=True)
    _answers: dict[tuple[str | None, str, str], bool] = field(
        factory=dict, init=False, repr=False, eq=False
    )

    def wants(self, event: Event) -> bool:
        """Return whether the sink gets *event*. Cheap: answers are kept per type."""
        if not self.only and not self.excluded:
            return True
        names = (event.kind, event.type, codec.event_type(event))
        answer = self._answers.get(names)
        if answer is None:
            answer = self._answers[names] = self._judge([name for name in names if name])
        return answer

    def _judge(self, names: Sequence[str]) -> bool:
        if _any_matches(names, self.excluded):
            return False
        return not self.only or _any_matches(names, self.only)


def _any_matches(names: Sequence[str], globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for name in names for glob in globs)
