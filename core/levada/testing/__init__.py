"""The conformance kit: proves in a few seconds, offline, that a connector keeps the contract.

Subclass `SourceContract` or `SinkContract` in a test module, say how a connector is made and what
it should have read or written, and plain pytest does the rest::

    from levada.testing import SourceContract


    class TestAcme(SourceContract):
        @pytest.fixture(autouse=True)
        def upstream(self, feed: Feed) -> None:
            self.feed = feed

        def make(self) -> Source:
            return AcmeSource(base_url=self.feed.url, api_key=Secret("acme-key"))

        def expected(self) -> list[tuple[str, str]]:
            return [("", item["id"]) for item in self.feed.items]

Every check is a test of its own, and its failure says what to do. A check that does not apply is
left out with ``test_… = None`` in the subclass, and a comment that says why.

`events`, `odd_events`, `collect` and `deliver` are what the checks are made of; tests of your own
may want them too.
"""

from levada.testing.deliver import Delivered, deliver
from levada.testing.read import collect
from levada.testing.samples import events, odd_events
from levada.testing.sink import SinkContract
from levada.testing.source import SourceContract

__all__ = [
    "Delivered",
    "SinkContract",
    "SourceContract",
    "collect",
    "deliver",
    "events",
    "odd_events",
]
