"""Power losses of a real file system, at any moment."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from crash import accounts
from crash.disk import Disk, mounted
from crash.killing import Victim
from crash.test_mutants import COMMIT, FDATASYNC
from levada.sandbox.receiver import Receiver

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

CUTS = 12


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path) as disk:
        yield disk


def lose_power(victim: Victim, disk: Disk) -> None:
    """Cut the power at many moments of the victim's work, then let it end."""
    victim.strike_often(CUTS, disk.cut, disk.give_power)
    victim.finish()


def test_the_disk_forgets_what_was_not_synced(disk: Disk) -> None:
    """Else the other tests would prove nothing."""
    (disk.place / "unsynced").write_bytes(b"x" * 1000)

    disk.cut()
    disk.give_power()

    assert not (disk.place / "unsynced").exists() or not (disk.place / "unsynced").stat().st_size


@pytest.mark.parametrize("protocol", ["file", "segments", "segment each", "gzip"])
def test_files_hold_each_event_once(protocol: str, disk: Disk) -> None:
    victim = Victim(disk.place, protocol, step=60)

    lose_power(victim, disk)

    accounts.files(victim)


def test_the_journal_keeps_all(disk: Disk) -> None:
    victim = Victim(disk.place, "journal", step=60)

    lose_power(victim, disk)

    accounts.journal(victim)


def test_what_is_acknowledged_upstream_is_in_the_journal(disk: Disk, tmp_path: Path) -> None:
    victim = _with_a_queue(disk, tmp_path)

    lose_power(victim, disk)

    accounts.journal(victim)


@pytest.mark.parametrize("protocol", ["webhook", "batches"])
def test_a_webhook_gets_each_event_under_one_id(
    protocol: str, disk: Disk, receiver: Receiver
) -> None:
    victim = Victim(disk.place, protocol, url=receiver.url + "/hook", step=60)

    lose_power(victim, disk)

    accounts.webhook(victim, receiver.accepted)


def test_a_redirected_file_gets_whole_lines(disk: Disk) -> None:
    victim = Victim(disk.place, "stdout", step=60)

    lose_power(victim, disk)

    accounts.stdout(victim)


def test_without_fdatasync_events_are_lost(disk: Disk, tmp_path: Path) -> None:
    packages = FDATASYNC.build(tmp_path / "packages")
    victim = Victim(disk.place, "file", step=60, packages=packages)

    with pytest.raises(AssertionError, match=r"bytes of it are committed|is not the file"):
        lose_power(victim, disk)


def test_without_synced_commits_acknowledged_events_are_lost(disk: Disk, tmp_path: Path) -> None:
    victim = _with_a_queue(disk, tmp_path)
    victim.packages = COMMIT.build(tmp_path / "packages")

    with pytest.raises(AssertionError, match=r"has lost events|state\.db"):
        _all_is_kept(victim, disk)


def _all_is_kept(victim: Victim, disk: Disk) -> None:
    lose_power(victim, disk)
    accounts.journal(victim)


def _with_a_queue(disk: Disk, elsewhere: Path) -> Victim:
    """Return a victim whose queue keeps its power."""
    victim = Victim(disk.place, "queue", step=200)
    (victim.folder / "acknowledged").symlink_to(elsewhere / "acknowledged")
    os.sync()
    return victim
