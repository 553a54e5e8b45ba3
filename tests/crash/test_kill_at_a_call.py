"""Kill -9 on entering the k-th call of a kind: between any two steps of each protocol."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from crash import accounts
from crash.killing import Victim, needs_strace
from crash.rounds import each_nth, each_number
from crash.suites import strike_all, strike_exchanges
from levada.sandbox.receiver import Receiver

pytestmark = needs_strace

long = pytest.mark.nightly


@each_nth
@pytest.mark.parametrize("call", ["openat", "pwrite64", "fdatasync", "fsync", "unlink", "rename"])
def test_a_new_journal_is_whole_or_not_there(
    call: str, nths: Sequence[int], tmp_path: Path
) -> None:
    victim = Victim(tmp_path / "it", "journal")

    strike_all(victim, call, nths, victim.draft)

    accounts.journal(victim)


@each_nth
@pytest.mark.parametrize("call", ["openat", "write", "ftruncate", "unlink"])
def test_a_journal_can_be_opened_and_closed(call: str, nths: Sequence[int], tmp_path: Path) -> None:
    victim = Victim(tmp_path / "it", "journal")

    strike_all(victim, call, nths, victim.journal)

    accounts.journal(victim)


@each_nth
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_a_log_can_be_taken_into_the_journal(
    call: str, nths: Sequence[int], tmp_path: Path
) -> None:
    victim = Victim(tmp_path / "it", "journal")

    strike_all(victim, call, nths, victim.database)

    accounts.journal(victim)


@each_nth
@pytest.mark.parametrize("call", ["openat", "write", "fsync", "rename"])
def test_its_checksums_are_those_of_before_or_of_now(
    call: str, nths: Sequence[int], tmp_path: Path
) -> None:
    victim = Victim(tmp_path / "it", "journal")

    strike_all(victim, call, nths, victim.sums)

    accounts.journal(victim)


@each_nth
@pytest.mark.parametrize("protocol", ["journal", "queue"])
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_the_journal_keeps_all(
    call: str, protocol: str, nths: Sequence[int], tmp_path: Path
) -> None:
    victim = Victim(tmp_path / "it", protocol)

    strike_all(victim, call, _in_commits(call, nths), victim.log)

    accounts.journal(victim)


@each_nth
@pytest.mark.parametrize(
    ("protocol", "call"),
    [
        ("file", "openat"),
        ("file", "write"),
        ("file", "pwrite64"),
        ("file", "fdatasync"),
        ("file", "fsync"),
        ("file", "unlink"),
        pytest.param("segments", "openat", marks=long),
        ("segments", "pwrite64"),
        ("segment each", "fdatasync"),
        ("segment each", "fsync"),
        ("segment each", "unlink"),
        pytest.param("gzip", "pwrite64", marks=long),
        ("gzip", "fdatasync"),
    ],
)
def test_files_hold_each_event_once(
    protocol: str, call: str, nths: Sequence[int], tmp_path: Path
) -> None:
    victim = Victim(tmp_path / "it", protocol)

    strike_all(victim, call, nths, [*victim.files, *victim.places])

    accounts.files(victim)


@each_nth
@pytest.mark.parametrize(
    ("protocol", "call"),
    [
        ("file", "pwrite64"),
        ("segments", "pwrite64"),
        pytest.param("gzip", "fdatasync", marks=long),
        ("forgetful", "pwrite64"),
        pytest.param("forgetful", "fdatasync", marks=long),
    ],
)
def test_files_hold_each_event_once_when_a_commit_fails(
    protocol: str, call: str, nths: Sequence[int], tmp_path: Path
) -> None:
    victim = Victim(tmp_path / "it", protocol)

    strike_all(victim, call, _in_commits(call, nths), victim.log)

    accounts.files(victim)


@each_nth
@pytest.mark.parametrize(
    ("protocol", "call"),
    [
        ("webhook", "pwrite64"),
        pytest.param("webhook", "fdatasync", marks=long),
        ("batches", "pwrite64"),
    ],
)
def test_a_webhook_gets_each_event_under_one_id(
    protocol: str, call: str, nths: Sequence[int], tmp_path: Path, receiver: Receiver
) -> None:
    victim = Victim(tmp_path / "it", protocol, url=receiver.url + "/hook")

    strike_all(victim, call, _in_commits(call, nths), victim.log)

    accounts.webhook(victim, receiver.accepted)


@each_number
@pytest.mark.parametrize("protocol", ["webhook", "batches"])
@pytest.mark.parametrize("call", [pytest.param("sendto", marks=long), "recvfrom"])
def test_what_a_webhook_gets_again_is_the_same(
    call: str, protocol: str, kills: int, tmp_path: Path, receiver: Receiver
) -> None:
    victim = Victim(tmp_path / "it", protocol, url=receiver.url + "/hook", step=20)

    strike_exchanges(victim, call, kills)
    victim.finish()

    repeated = accounts.webhook(victim, receiver.accepted)
    assert repeated or call == "sendto"


@each_nth
@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_redirected_file_gets_whole_lines(call: str, nths: Sequence[int], tmp_path: Path) -> None:
    victim = Victim(tmp_path / "it", "stdout")

    strike_all(victim, call, nths, [victim.out])

    repeated = accounts.stdout(victim)
    assert repeated or call == "write"


@each_nth
def test_a_pipe_gets_whole_lines(nths: Sequence[int], tmp_path: Path) -> None:
    victim = Victim(tmp_path / "it", "stdout", piped=True)

    strike_all(victim, "pwrite64", _in_commits("pwrite64", nths), victim.log)

    accounts.stdout(victim)


@long
@pytest.mark.timeout(600)
def test_a_redirected_file_gets_whole_long_lines(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "it", "long lines", step=1)

    strike_all(victim, "write", range(1, 13), [victim.out])

    accounts.stdout(victim)


def _in_commits(call: str, nths: Sequence[int]) -> list[int]:
    """Return numbers that fall into several commits; each takes a few writes and one sync."""
    return [3 * nth + 2 if call == "pwrite64" else nth + 1 for nth in nths]
