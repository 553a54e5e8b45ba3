from collections.abc import Iterator

import pytest

from crash.victim import SECRET
from levada.sandbox.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver.in_thread(secret=SECRET) as receiver:
        yield receiver
