"""The suites that the mutants have to be caught by; each is also a test of its own.

They work in a folder that does not exist yet, with the installed packages or with patched ones.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from crash import accounts
from crash.killing import Blow, Victim
from crash.order import CALLS, Disk
from crash.victim import PER_DELIVERY, RUNS, SECRET
from levada.sandbox.receiver import Receiver

SPREAD = 20
"""Over how many calls the blows at an exchange are spread: about as many as a short run makes."""


def strike_all(victim: Victim, call: str, nths: Sequence[int], paths: Sequence[Path]) -> None:
    """Kill it at each of the *nths*; at least one has to hit, and hit what is meant."""
    for nth in nths:
        victim.strike(Blow(call, nth, paths))
    victim.finish()
    assert victim.deaths, f"no process came to its {call} number {nths[0]}"
    assert {death.call for death in victim.deaths} == {call}
    if paths:
        assert {Path(death.place) for death in victim.deaths} <= set(paths)


def strike_exchanges(victim: Victim, call: str, kills: int) -> None:
    """Kill it so many times when it is about to talk to the receiver, or to hear from it."""
    known = len(victim.deaths)
    for blow in range(2 * SPREAD * kills):  # the loop wakes itself with these calls as well
        victim.strike(Blow(call, 7 + 3 * (blow % SPREAD)))
        if sum(death.place.startswith("TCP") for death in victim.deaths[known:]) == kills:
            return
    pytest.fail(f"no {kills} processes were killed in {call} from or to the receiver")


def order_on_disk(folder: Path, packages: Path | None = None) -> None:
    """Nothing counts before its bytes and its name are on the disk."""
    keeping = Victim(folder, "journal", packages=packages)
    writing = Victim(folder, "segment each", packages=packages, step=0)
    printing = Victim(folder, "stdout", packages=packages, step=0)
    deliveries = RUNS * keeping.step // PER_DELIVERY
    disk = Disk()

    disk.replay(keeping.trace(CALLS))

    disk.commits = 0  # from here on without a source: each commit belongs to the sink
    disk.replay(writing.trace(CALLS))
    assert disk.commits > deliveries, "a commit is not synced"
    assert disk.created == disk.appended > deliveries, "not every segment was seen"

    disk.commits = disk.appended = 0
    disk.replay(printing.trace(CALLS))
    assert disk.commits > deliveries, "a commit is not synced"
    assert disk.appended > deliveries, "not every line was seen"


def cut_off(folder: Path, packages: Path | None = None) -> None:
    """What lies beyond the committed end goes, even if that is interrupted."""
    victim = Victim(folder, "file", packages=packages)
    ours = [folder / "events.jsonl"]

    assert victim.strike(Blow("fdatasync", 3, ours))
    victim.strike(Blow("ftruncate", 1, ours))
    victim.strike(Blow("fsync", 1, ours))
    victim.finish()

    accounts.files(victim)
    assert [death.call for death in victim.deaths] == ["fdatasync", "ftruncate", "fsync"]


def acknowledged(folder: Path, packages: Path | None = None) -> None:
    """What a queue may forget is in the journal."""
    victim = Victim(folder, "queue", packages=packages, step=40)

    strike_all(victim, "pwrite64", (4, 6, 8, 10), victim.log)

    accounts.journal(victim)


def one_delivery_again(folder: Path, packages: Path | None = None) -> None:
    """However slow the disk, stdout repeats one delivery at most."""
    victim = Victim(folder, "stdout", packages=packages, step=16)
    victim.finish()

    victim.strike(Blow("write", 4, [victim.out, *victim.journal], slow="pwrite64"))
    victim.finish()

    assert {Path(death.place) for death in victim.deaths} == {victim.out}
    accounts.stdout(victim)


def torn_lines(folder: Path, packages: Path | None = None) -> None:
    """A line that a crash tore is ended before the next one begins, even if that is interrupted."""
    victim = Victim(folder, "long lines", packages=packages, step=1)

    torn = victim.strike(Blow("write", 2, [victim.out]))
    again = victim.strike(Blow("write", 1, [victim.out]))
    victim.finish()

    assert (torn, again) == (True, True)
    accounts.stdout(victim)
    lines = victim.out.read_bytes().splitlines()
    assert any(not line.endswith(b"}}") for line in lines), "no line was torn"


def sent_again(folder: Path, packages: Path | None = None) -> None:
    """What a receiver took without our noting it comes again, and can be told."""
    with Receiver.in_thread(secret=SECRET) as receiver:
        victim = Victim(folder, "webhook", url=receiver.url, packages=packages, step=20)

        strike_exchanges(victim, "recvfrom", 1)
        victim.finish()

        assert accounts.webhook(victim, receiver.accepted) > 0, "nothing came again"
