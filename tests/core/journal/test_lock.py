import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from levada import StateError
from levada.journal.lock import NAME, locked

HOLD = """
import sys
from pathlib import Path
from levada.journal.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / NAME


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_at_once_and_told_who_has_it(
    path: Path, holder: subprocess.Popen[bytes]
) -> None:
    started = time.monotonic()

    with pytest.raises(StateError) as caught, locked(path.parent):
        pass

    assert time.monotonic() - started < 2
    assert f"{path.parent} is in use by process {holder.pid};" in str(caught.value)


def test_the_lock_of_a_killed_process_is_free(path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait()

    with locked(path.parent):
        assert path.read_text() == str(os.getpid())


def test_the_lock_can_be_taken_again_once_it_is_let_go(path: Path) -> None:
    with locked(path.parent):
        pass

    with locked(path.parent):
        assert path.read_text() == str(os.getpid())


def test_only_the_owner_may_read_the_file(path: Path) -> None:
    with locked(path.parent):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_not_there_is_an_error_of_the_state(tmp_path: Path) -> None:
    with (
        pytest.raises(StateError, match="cannot be opened: No such file"),
        locked(tmp_path / "nowhere"),
    ):
        pass


def test_who_removes_the_file_does_not_open_the_lock(
    path: Path, holder: subprocess.Popen[bytes]
) -> None:
    path.unlink()

    with pytest.raises(StateError, match="is in use by process unknown"), locked(path.parent):
        pass


def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path.symlink_to(precious)

    with pytest.raises(StateError, match=r"state\.lock cannot be opened"), locked(path.parent):
        pass

    assert precious.read_text() == "precious"
