"""How a check says what is wrong: one sentence, with a few examples and what to do."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

_SHOWN = 3


def require(condition: object, message: str) -> None:
    """Fail with *message* unless *condition* holds."""
    __tracebackhide__ = True
    if not condition:
        raise AssertionError(message)


def require_all(
    expected: Sequence[T], got: Sequence[T], advice: str, *, repeats: bool = False
) -> None:
    """Fail unless *got* holds each of *expected* once and nothing else, in whatever order.

    With *repeats* each may come several times.
    """
    __tracebackhide__ = True
    times = Counter(got)
    known = set(expected)
    wrong = [
        _counted("missing", [each for each in expected if each not in times]),
        _counted("not expected", [each for each in times if each not in known]),
        _counted("there more than once", [each for each in known if times[each] > 1 - repeats]),
    ]
    if repeats:
        wrong.pop()
    require(not any(wrong), f"{'; '.join(filter(None, wrong))}. {advice}")


def require_order(expected: Sequence[T], got: Iterable[T], where: str, advice: str) -> None:
    """Fail unless what is in both comes in the order of *expected*; of repeats the first counts."""
    __tracebackhide__ = True
    common = [each for each in dict.fromkeys(got) if each in set(expected)]
    wanted = [each for each in expected if each in set(common)]
    for ours, theirs in zip(common, wanted, strict=True):
        require(ours == theirs, f"{where}: {ours!r} comes before {theirs!r}. {advice}")


def spread(count: int, most: int) -> Iterable[int]:
    """Return up to *most* numbers below *count*, evenly spread, the first and last among them."""
    if count <= most:
        return range(count)
    return sorted({number * (count - 1) // (most - 1) for number in range(most)})


def listed(things: Iterable[object]) -> str:
    """Show a few of *things*."""
    every = [repr(thing) for thing in things]
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more


def _counted(what: str, things: Sequence[object]) -> str:
    count = f"{len(things)} event{'s are' if len(things) > 1 else ' is'}"
    return f"{count} {what}: {listed(things)}" if things else ""
