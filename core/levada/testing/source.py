"""The checks that a source has to pass."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar
from unittest import SkipTest

from levada._json import Json
from levada.batch import Partition
from levada.event import Event
from levada.source import Source
from levada.testing import cancelling, formats
from levada.testing.connector import ConnectorContract
from levada.testing.deliver import through_json
from levada.testing.read import Reading, Watched, read, read_watched
from levada.testing.running import nothing_left_open
from levada.testing.verdict import listed, require, require_all, require_order, spread

Name = tuple[str, str]

_GROWTHS = 10
_FAILURES = 40


class SourceContract(ConnectorContract[Source]):
    """Checks a source that ends by itself against an upstream that the subclass provides.

    The upstream must run outside of the check's event loop: in a thread (`levada.sandbox` has
    `run_in_thread`), or as plain data. Some twenty events in three partitions that need several
    pages show most; hundreds take long, as a read is cut off behind every batch.
    """

    idle_requests: ClassVar[int | None] = None
    """Most requests that a pass may make when nothing has changed; None: not checked."""

    @abstractmethod
    def make(self) -> Source:
        """Return a new source, not opened, for the same upstream each time."""

    @abstractmethod
    def expected(self) -> list[Name]:
        """Return (partition, event id) of all events upstream at present, oldest first in each."""

    def grow(self) -> None:
        """Let something happen upstream: new events, a new partition. Left out: not checked."""

    async def use(self, connector: Source) -> None:
        """Read everything."""
        await read(connector)

    # ── what is yielded ─────────────────────────────────────────────────────────────────────────

    def test_yields_every_event(self) -> None:
        """Everything upstream arrives, and nothing else."""
        got = list(dict.fromkeys(_names(self._read())))
        require_all(self.expected(), got, "Yield all that lies after `position`, page after page")

    def test_yields_each_event_once(self) -> None:
        """No (partition, id) comes twice in one pass: the host would drop the second."""
        times = Counter(_names(self._read()))
        twice = [name for name, count in times.items() if count > 1]
        require(
            not twice,
            f"yielded more than once: {listed(twice)}. If they are different events, give each an "
            "id that is unique in its partition; if not, pages overlap: leave out what was read",
        )

    def test_yields_the_oldest_first(self) -> None:
        """Within a partition, events come in the order in which they happened."""
        expected, got = self.expected(), _names(self._read())
        for key in dict.fromkeys(key for key, _ in expected):
            theirs = [name for part, name in expected if part == key]
            ours = [name for part, name in got if part == key]
            advice = "A vendor's list that begins with the newest goes through ctx.backlog()"
            require_order(theirs, ours, f"partition {key!r}", advice)

    def test_yields_events_of_the_partition_it_was_asked_for(self) -> None:
        """`event.partition` is the key of the partition being read."""
        for partition, event in _yielded(self._read()):
            require(
                event.partition == partition.key,
                f"read({partition.key!r}) yielded {event.id!r} of partition {event.partition!r}; "
                "pass partition=partition.key",
            )

    def test_keeps_records_as_one_line_of_json(self) -> None:
        """`event.raw` is the vendor's record: valid JSON in UTF-8, without a line break."""
        for _, event in _yielded(self._read()):
            if fault := formats.of_raw(event.raw):
                raise AssertionError(
                    f"the record of {event.id!r} {fault}; json.dumps(…).encode() makes one, and "
                    "levada.page keeps the vendor's own bytes"
                )

    def test_dates_events_in_utc(self) -> None:
        """`event.time` is aware, and UTC."""
        for _, event in _yielded(self._read()):
            if fault := formats.of_time(event.time):
                raise AssertionError(f"the time of {event.id!r} {fault}; call .astimezone(UTC)")

    def test_keeps_its_place_in_json(self) -> None:
        """Positions and versions come back from JSON as they went in."""
        for what, value in _places(self._read()):
            if fault := formats.of_json(value):
                raise AssertionError(f"a {what} {fault}; use text, numbers, lists and dicts")

    # ── going on ────────────────────────────────────────────────────────────────────────────────

    def test_goes_on_from_behind_every_batch(self) -> None:
        """A run that stops behind any batch is completed by the next: nothing lost or doubled."""
        whole = self._read()
        for stop in range(len(whole.batches)):
            first = self._read(batches=stop)
            second = self._read(first.state)
            with _at(f"stopped behind batch {stop}, then read on"):
                require_all(
                    _read_names(whole),
                    _read_names(first, second),
                    "A position must tell what the batches up to its own have brought, and no more",
                )

    def test_finds_nothing_new_when_nothing_is(self) -> None:
        """A second run yields nothing."""
        again = self._read(self._read().state)
        require(
            not again.events,
            f"nothing has happened, and yet these came: {listed(_read_names(again))}. Start "
            "behind `position`; let a partition that is final have a version",
        )

    def test_leaves_alone_what_has_not_changed(self) -> None:
        """A partition's version is the same until something happens in it; requests are few."""
        first = self._read()
        second = self._read(first.state)
        before = _versions(first)
        for key, version in _versions(second).items():
            require(
                version == before.get(key, version),
                f"the version of partition {key!r} was {before.get(key)!r}, then {version!r}, and "
                "nothing had happened; make it of what the vendor changes with an event",
            )
        require(
            self.idle_requests is None or second.requests <= self.idle_requests,
            f"{second.requests} requests, where idle_requests = {self.idle_requests}; give every "
            "partition a version, so that it is not read in vain",
        )

    def test_finds_what_is_new(self) -> None:
        """After the upstream has grown, a run yields exactly what came."""
        self._require_growth()
        before = self._read()
        self.grow()
        now, old = self._read(), set(_read_names(before))
        require_all(
            [name for name in _read_names(now) if name not in old],
            _read_names(self._read(before.state)),
            "Let the version of a partition change with every event, or leave it None",
        )

    def test_misses_nothing_that_comes_while_it_reads(self) -> None:
        """What is new during a run arrives in it or in the next one, once."""
        self._require_growth()
        for stop in spread(len(self._read().yielded), _GROWTHS):
            first = self._read(grow_behind=stop)
            second = self._read(first.state)
            with _at(f"grown behind batch {stop + 1}"):
                require_all(
                    _read_names(self._read()),
                    _read_names(first, second),
                    "A position tells what was yielded, a version changes with every event; else "
                    "leave the version None",
                )

    def test_loses_nothing_when_a_request_fails(self) -> None:
        """Whichever request fails, the next run makes up for it. Needs `ctx.http`."""
        whole = self._read()
        for number in spread(whole.requests, _FAILURES):
            first = self.run(read_watched(Watched.over(self.make(), fails_at=number)))
            second = self._read(first.state)
            with _at(f"request {number + 1} failed"):
                require_all(
                    _read_names(whole),
                    _read_names(first, second),
                    "Let failures out of read(): to return means that nothing is left to read",
                )

    # ── stopping ────────────────────────────────────────────────────────────────────────────────

    def test_stops_when_cancelled(self) -> None:
        """Cancelled at any moment it ends soon, and leaves no task, socket or file behind."""
        moments = cancelling.moments(self._read())
        with nothing_left_open():
            for moment in moments:
                self.run(cancelling.cancel_at(moment, self.make(), cancel_s=self.cancel_s))

    def _read(
        self, state: Json = None, *, batches: int | None = None, grow_behind: int | None = None
    ) -> Reading:
        """Read once, as a process that starts with *state* as it was stored."""

        def grow(number: int) -> None:
            if number == grow_behind:
                self.grow()

        stored = through_json(state)
        on_batch = None if grow_behind is None else grow
        return self.run(read(self.make(), stored, batches=batches, on_batch=on_batch))

    def _require_growth(self) -> None:
        if type(self).grow is SourceContract.grow:
            raise SkipTest("define grow() to have this checked")


def _yielded(reading: Reading) -> Iterator[tuple[Partition, Event]]:
    return ((partition, event) for partition, batch in reading.yielded for event in batch.events)


def _places(reading: Reading) -> Iterator[tuple[str, Json]]:
    for _, batch in reading.yielded:
        yield "position", batch.position
    for found in reading.found:
        if isinstance(found, Partition):
            yield "version", found.version
        else:
            yield "position", found.position


def _versions(reading: Reading) -> dict[str, Json]:
    found = (each for each in reading.found if isinstance(each, Partition))
    return {each.key: through_json(each.version) for each in found}


def _names(reading: Reading) -> list[Name]:
    """Name what the source yielded, repetitions included."""
    return [(partition.key, event.id) for partition, event in _yielded(reading)]


def _read_names(*readings: Reading) -> list[Name]:
    """Name what came out of several runs, as the host passes it on."""
    return [(event.partition, event.id) for each in readings for event in each.events]


@contextmanager
def _at(moment: str) -> Iterator[None]:
    """Say when it was that a check failed."""
    __tracebackhide__ = True
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{moment}: {error}") from None
