"""What a hostile answer costs in memory."""

from collections.abc import Callable
from pathlib import Path

import pytest

from faults.upstream import Upstream
from levada.sandbox import Fault

MIB = 1 << 20

MEASURED = """\
import atexit, re

@atexit.register
def note():
    with open("/proc/self/status") as status, open("peak", "w") as peak:
        peak.write(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1])
"""

HOSTILE: dict[str, Callable[[], Fault]] = {
    "a bomb": lambda: Fault.bomb(size=512 * MIB),
    "a bomb in a bomb": lambda: Fault.bomb(layers=2, size=512 * MIB),
    "a body without end": Fault.endless,
    "a body of single bytes": lambda: Fault.endless(chunk=1),
    "millions of rows": lambda: Fault.body(b'{"data":[%b1]}' % (b"{}," * 10_000_000)),
    "headers": lambda: Fault.header_flood(100, length=MIB),
}


pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the system tells no peak"
)


@pytest.fixture
def measured(up: Upstream, tmp_path: Path) -> Callable[[], int]:
    """Return a function that runs the pipeline, which fails, and returns its peak in bytes."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(MEASURED)
    # and max_response_bytes as it is: 32 MiB
    up.settings = '\ngive_up_after = "300ms"\nrequest_timeout = "5s"\nconcurrency = 1\n'

    def run() -> int:
        done = up.run(PYTHONPATH=str(site))
        assert done.code == 75, done.err
        assert done.seconds < 20
        return int((tmp_path / "peak").read_text()) * 1024

    return run


@pytest.mark.faults
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_takes_no_more_memory_than_two_of_the_longest(
    up: Upstream, measured: Callable[[], int], name: str
) -> None:
    up.fail(HOSTILE[name]())

    assert measured() < (150 + 2 * 32) * MIB


def test_what_was_refused_is_not_in_memory_when_less_is_asked_for(
    up: Upstream, measured: Callable[[], int]
) -> None:
    up.fail(Fault.endless(), "events")

    assert measured() < (100 + 32) * MIB
