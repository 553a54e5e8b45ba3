"""Kill -9 while a start puts right what the last death left; the next start puts that right."""

from pathlib import Path

import pytest

from crash import accounts, suites
from crash.killing import Blow, Victim, needs_strace
from levada.sandbox.receiver import Receiver

pytestmark = needs_strace


def strike(victim: Victim, *blows: Blow) -> None:
    """Kill it by one blow after the other, all of which have to hit; then let it end."""
    for blow in blows:
        assert victim.strike(blow), f"no process came to {blow.call} number {blow.nth}"
    assert [death.call for death in victim.deaths] == [blow.call for blow in blows]
    victim.finish()


def test_while_a_file_is_cut_off(tmp_path: Path) -> None:
    suites.cut_off(tmp_path / "it")


def test_while_a_line_is_ended(tmp_path: Path) -> None:
    suites.torn_lines(tmp_path / "it")


def test_while_a_segment_is_removed(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "it", "segment each")
    segments = [path for path in victim.files if path.suffix == ".jsonl"]
    archive, intent = victim.folder / "archive", victim.folder / "archive" / ".events.levada"

    strike(
        victim,
        Blow("fdatasync", 3, segments),
        Blow("unlink", 1, segments),
        Blow("fsync", 1, [archive]),
        Blow("unlink", 1, [intent]),
    )

    accounts.files(victim)


def test_while_a_packed_segment_is_cut_off(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "it", "gzip")
    segments = [path for path in victim.files if path.suffix == ".gz"]

    strike(
        victim,
        Blow("fdatasync", 2, segments),
        Blow("ftruncate", 1, segments),
        Blow("fsync", 1, segments),
    )

    accounts.files(victim)


def test_while_the_journal_replays_its_log(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "it", "journal")
    index = victim.state / "state.db-shm"

    strike(
        victim,
        Blow("pwrite64", 30, victim.log),
        Blow("ftruncate", 1, [index]),
        Blow("pwrite64", 1, [index]),
        Blow("openat", 1, victim.log),
        Blow("pwrite64", 1, victim.log),
    )

    accounts.journal(victim)


def test_while_a_draft_of_the_journal_is_thrown_away(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "it", "journal")
    draft = [victim.state / "state.new"]

    strike(victim, Blow("rename", 1, draft), Blow("unlink", 1, draft), Blow("openat", 1, draft))

    accounts.journal(victim)


@pytest.mark.parametrize("protocol", ["webhook", "batches"])
def test_before_a_webhook_gets_the_rest(protocol: str, tmp_path: Path, receiver: Receiver) -> None:
    victim = Victim(tmp_path / "it", protocol, url=receiver.url + "/hook", step=30)

    for call in ("pwrite64", "fdatasync"):
        suites.strike_exchanges(victim, "recvfrom", 1)
        assert victim.strike(Blow(call, 1, victim.log))
    victim.finish()

    assert accounts.webhook(victim, receiver.accepted) > 0
