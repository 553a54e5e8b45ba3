"""The checks that sources and sinks share."""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Generic, TypeVar

from levada.config.options import options_of, summary
from levada.connector import Connector, secrets_of
from levada.errors import ConfigError
from levada.plugins import Registry
from levada.sink import Sink
from levada.testing.running import run
from levada.testing.verdict import listed, require

C = TypeVar("C", bound=Connector)
T = TypeVar("T")

_SECRETIVE: Final = re.compile(r"secret|passw|token|credential|api_?key", re.IGNORECASE)
_TELLING: Final = 4
"""A shorter secret is found in many a text by chance."""


class ConnectorContract(ABC, Generic[C]):
    """What every connector has to keep. Subclass `SourceContract` or `SinkContract`."""

    timeout_s: ClassVar[float] = 30.0
    """How long one check may take."""

    cancel_s: ClassVar[float] = 5.0
    """How long a connector may take to stop when it is cancelled."""

    @abstractmethod
    def make(self) -> C:
        """Return a new connector, not opened: another process at the same upstream or destination.

        Called several times in one check.
        """

    @abstractmethod
    async def use(self, connector: C) -> None:
        """Let *connector* do a little of its work, between `open` and `close`."""

    def test_is_offered_under_its_name(self) -> None:
        """An installed package offers the connector's class under its `name`."""
        connector = self.make()
        name = getattr(connector, "name", None)
        require(isinstance(name, str) and name, 'the class has no name; add: name = "…"')
        role = "sink" if isinstance(connector, Sink) else "source"
        try:
            offered = getattr(Registry(), role)(name)
        except ConfigError:
            module = type(connector).__module__.partition(".")[0]
            raise AssertionError(
                f'no installed package offers the {role} {name!r}; add {name} = "{module}" to '
                "[project.entry-points.levada] in pyproject.toml, then: pip install -e ."
            ) from None
        found = f"{offered.__module__}.{offered.__qualname__}"
        advice = "give one of the two another name"
        require(isinstance(connector, offered), f"{name!r} is the name of {found}; {advice}")

    def test_says_what_it_is_for(self) -> None:
        """The class and every option have the text that `levada describe` shows."""
        cls = type(self.make())
        require(summary(cls), f"{cls.__name__} has no docstring; say what it is for")
        silent = [name for name, option in options_of(cls).items() if not option.help]
        require(
            not silent,
            f'options without help: {listed(silent)}. Declare each by option(help="…"), and what '
            "is no option by field(init=False)",
        )

    def test_keeps_its_identity(self) -> None:
        """`identity()` is the same on every run."""
        first, second = self.make().identity(), self.make().identity()
        advice = "Return what the options say: a path, a URL without its query"
        require(isinstance(first, str), f"identity() returned {type(first).__name__}. {advice}")
        require(first == second, f"identity() was {first!r}, then {second!r}. {advice}")

    def test_shows_no_secret(self) -> None:
        """No secret is in the connector's repr, identity, reports or log, nor an option of text."""
        connector = self.make()
        bare = [name for name, option in options_of(type(connector)).items() if _is_bare(option)]
        require(not bare, f"options with a secret in them: {listed(bare)}. Let the type be Secret")
        with _logged() as lines:
            shown = [repr(connector), connector.identity()]
            self.run(self.use(connector))
        shown += [repr(connector), *lines]
        for secret in secrets_of(connector):
            value = secret.reveal()
            places = [text.replace(value, "[…]") for text in shown if value in text]
            require(
                len(value) < _TELLING or not places,
                f"a secret shows: {listed(places)}. Call reveal() only where it is sent, and keep "
                "nothing of it in a field with a repr",
            )

    def test_can_be_closed_twice(self) -> None:
        """`close()` does no harm when called again, or without an `open()`."""
        self.run(_close(self.make(), "before open()"))
        self.run(self._close_again(self.make()))

    async def _close_again(self, connector: C) -> None:
        await self.use(connector)
        await _close(connector, "for the second time")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* in an event loop of its own.

        Raises:
            AssertionError: it did not end within `timeout_s`.
        """
        return run(work, timeout_s=self.timeout_s)


def _is_bare(option: Any) -> bool:
    return bool(_SECRETIVE.search(option.name)) and option.type in {str, str | None}


async def _close(connector: Connector, when: str) -> None:
    try:
        await connector.close()
    except Exception as error:
        advice = "let go only of what is held, and then forget it"
        raise AssertionError(f"called {when}, close() raised {error!r}; {advice}") from error


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Collect everything that is logged, down to debugging."""
    handler, root = _Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler.lines
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
