"""The suites are worth something: without any one step of a protocol, one of them fails."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crash import suites
from crash.killing import Victim, needs_strace
from crash.mutants import Mutant

pytestmark = needs_strace

FDATASYNC = Mutant("levada_file/segment.py", "        _sync(self.handle)\n")
FOLDER = Mutant("levada_file/layout.py", "        os.fsync(handle)\n", "        pass\n")
INTENT = Mutant("levada_file/intent.py", "            os.fsync(handle)\n")
TRUNCATION = Mutant(
    "levada_file/segment.py", "            os.ftruncate(self.handle, mark.offset)\n"
)
COMMIT = Mutant(
    "levada/journal/opening.py", "PRAGMA synchronous = FULL", "PRAGMA synchronous = OFF"
)
PLAN = Mutant(
    "levada/journal/sinks.py",
    "            return [_plan(connection, name, group) for group in groups]\n",
    "            return [0 for group in groups]\n",
)
ID = Mutant(
    "levada_webhook/sink.py",
    "signed(self._keys, delivery.id,",
    "signed(self._keys, str(time.time_ns()),",
)
PRINTED = Mutant("levada_stdout/sink.py", "        await self._sync(outlet)\n")
ACKNOWLEDGEMENT = Mutant(
    "levada/batch.py", "        await self._durable.wait()\n", "        pass\n"
)
RECEIPT = Mutant("levada_stdout/sink.py", '        return {"through": delivery.seq}\n')
TORN = Mutant("levada_stdout/sink.py", "outlet.is_file and outlet.is_torn()", "False")


@pytest.mark.parametrize(
    ("mutant", "suite", "complaint"),
    [
        pytest.param(FDATASYNC, suites.order_on_disk, "counts before it is on", id="fdatasync"),
        pytest.param(FOLDER, suites.order_on_disk, "announced|its folder", id="a folder's fsync"),
        pytest.param(INTENT, suites.order_on_disk, "is not announced", id="the intent's fsync"),
        pytest.param(COMMIT, suites.order_on_disk, "the last commit is on", id="a commit's fsync"),
        pytest.param(PRINTED, suites.order_on_disk, "out counts before", id="stdout's fdatasync"),
        pytest.param(PLAN, suites.cut_off, "do not hold|account is", id="commit before a write"),
        pytest.param(ID, suites.sent_again, "with another id", id="a delivery's id"),
        pytest.param(TRUNCATION, suites.cut_off, "somebody else writes to it", id="truncation"),
        pytest.param(
            ACKNOWLEDGEMENT, suites.acknowledged, "has lost events", id="commit before acknowledge"
        ),
        pytest.param(RECEIPT, suites.one_delivery_again, "came again at once", id="receipt"),
        pytest.param(TORN, suites.torn_lines, "begins within another", id="end of a torn line"),
    ],
)
def test_without_a_step_a_suite_fails(
    mutant: Mutant, suite: Callable[[Path, Path | None], None], complaint: str, tmp_path: Path
) -> None:
    packages = mutant.build(tmp_path / "packages")

    with pytest.raises(AssertionError, match=complaint):
        suite(tmp_path / "it", packages)


@pytest.mark.parametrize(
    "suite",
    [suites.order_on_disk, suites.acknowledged, suites.one_delivery_again, suites.sent_again],
)
def test_with_every_step_none_does(
    suite: Callable[[Path, Path | None], None], tmp_path: Path
) -> None:
    """The other suites are in ``test_kill_in_recovery.py``."""
    suite(tmp_path / "it", None)


def test_killing_at_a_call_that_never_comes_fails(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "it", "journal")

    with pytest.raises(AssertionError, match="no process came to its rename number 9"):
        suites.strike_all(victim, "rename", [9], victim.draft)


def test_killing_what_is_never_at_work_fails(tmp_path: Path) -> None:
    Victim(tmp_path / "it", "journal").finish()
    victim = Victim(tmp_path / "it", "repair")  # of a whole journal: nothing to do

    with pytest.raises(pytest.fail.Exception, match="only 0 hit it at work"):
        victim.strike_often(1)
