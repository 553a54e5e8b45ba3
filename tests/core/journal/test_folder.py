import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from levada import StateError
from levada.journal.folder import prepare


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_the_folder_and_its_missing_parents_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "state"

    prepare(folder)

    assert {mode(each) for each in (folder, folder.parent, folder.parent.parent)} == {0o700}


@pytest.mark.parametrize("others", [0o700, 0o755, 0o770], ids=oct)
def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path, others: int) -> None:
    tmp_path.chmod(others)

    prepare(tmp_path)

    assert mode(tmp_path) == others


@pytest.mark.parametrize("others", [0o777, 0o702, 0o1777], ids=oct)
def test_a_folder_that_everybody_may_write_to_is_refused(tmp_path: Path, others: int) -> None:
    tmp_path.chmod(others)

    with pytest.raises(StateError, match=r"everybody may write to .+; run: chmod 700"):
        prepare(tmp_path)


def test_a_link_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "state").symlink_to("open")

    with pytest.raises(StateError, match="everybody may write"):
        prepare(tmp_path / "state")


@pytest.mark.parametrize("name", ["file/state", "nul\0", "x" * 300], ids=["file", "NUL", "long"])
def test_a_folder_that_cannot_be_made_is_said_to_be(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StateError, match="cannot be made"):
        prepare(tmp_path / name)
