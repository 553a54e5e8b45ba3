"""What the file sink does when the disk or somebody else gets in the way."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from levada import Fatal, Json, Retry
from levada_file.sink import FileSink
from plugins.file.conftest import DeliveryOf, Resumed
from plugins.file.doubles import Context

NAME = "events.jsonl"


def size(place: Path) -> int:
    """Return the bytes in a file, or in the segments of a folder; -1 if it is not there."""
    if not place.exists():
        return -1
    files = [place] if place.is_file() else place.glob("events-*")
    return sum(path.stat().st_size for path in files)


def content(file: Path) -> bytes:
    return file.read_bytes()


def put(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def remove(file: Path) -> None:
    file.unlink()


def remount_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)  # noqa: S607


@pytest.fixture
async def receipt(resumed: Resumed, delivery: DeliveryOf, ctx: Context) -> Json:
    """The receipt of three events in one file."""
    sink = await resumed(name=NAME)
    receipt = await sink.write(delivery(1, 3), ctx)
    await sink.close()
    return receipt


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / NAME


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("mounting a small tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk],  # noqa: S607  # found above
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("tmpfs cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)  # noqa: S607


async def test_a_file_that_was_removed_is_not_begun_again(
    receipt: Json, resumed: Resumed, file: Path
) -> None:
    remove(file)

    with pytest.raises(Fatal, match=rf"{file} is missing, but \d+ bytes of it are committed"):
        await resumed(receipt, name=NAME)

    assert size(file) == -1


async def test_a_file_that_was_cut_is_not_touched(
    receipt: Json, resumed: Resumed, file: Path
) -> None:
    os.truncate(file, 100)

    with pytest.raises(Fatal, match="holds 100 bytes, but"):
        await resumed(receipt, name=NAME)

    assert size(file) == 100


async def test_another_file_of_the_same_size_is_recognised(
    receipt: Json, resumed: Resumed, file: Path
) -> None:
    foreign = b"x" * (receipt["offset"] + 10)
    put(file, foreign)

    with pytest.raises(Fatal, match="is not the file that this pipeline wrote"):
        await resumed(receipt, name=NAME)

    assert content(file) == foreign


def put_no_file(place: Path, what: str) -> None:
    kept = place.rename(place.with_name("kept"))
    if what == "link":
        place.symlink_to(kept)
    else:
        place.mkdir()


@pytest.mark.parametrize("what", ["link", "folder"])
async def test_what_is_no_file_in_the_place_of_a_segment_is_recognised(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path, what: str
) -> None:
    sink = await resumed(name="archive")
    receipt = await sink.write(delivery(1, 3), ctx)
    await sink.close()
    put_no_file(tmp_path / "archive" / "events-000001.jsonl", what)

    with pytest.raises(Fatal, match="is not the file that this pipeline wrote; put it back"):
        await resumed(receipt, name="archive")


async def test_a_copy_of_our_file_is_as_good(receipt: Json, resumed: Resumed, file: Path) -> None:
    copy = file.with_name("copy")
    shutil.copyfile(file, copy)
    copy.replace(file)

    assert isinstance(await resumed(receipt, name=NAME), FileSink)


@pytest.mark.parametrize("name", [NAME, "archive"])
async def test_data_without_a_receipt_is_somebody_else_s(
    name: str, resumed: Resumed, tmp_path: Path
) -> None:
    place = tmp_path / name
    if name == "archive":
        place.mkdir()
        place /= "events-000004.jsonl"
    place.write_bytes(b'{"precious":1}\n')

    with pytest.raises(
        Fatal, match="holds 15 bytes that this sink, as it is now, did not write; move it"
    ):
        await resumed(None, name=name)

    assert place.read_bytes() == b'{"precious":1}\n'


@pytest.mark.parametrize("field", ["journal", "name"])
async def test_a_leftover_of_another_journal_or_sink_is_left_alone(
    field: str, resumed: Resumed, delivery: DeliveryOf, ctx: Context, file: Path
) -> None:
    crashed = await resumed(name=NAME)
    await crashed.write(delivery(1, 3), ctx)
    setattr(ctx, field, "another")

    with pytest.raises(Fatal, match="did not write; move it"):
        await resumed(None, name=NAME)

    assert size(file) > 0


async def test_committed_data_is_left_alone_when_the_receipt_is_lost(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await resumed(name=NAME)
    for seq in (1, 2):
        await sink.write(delivery(seq, seq), ctx)

    with pytest.raises(Fatal, match="did not write; move it"):
        await resumed(None, name=NAME)


@pytest.mark.parametrize("name", [NAME, "archive"])
async def test_what_was_committed_is_left_alone_with_an_older_receipt_or_none(
    name: str, resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    first = await resumed(name=name, rotate_bytes=1)
    old = await first.write(delivery(1, 1), ctx)
    new = await first.write(delivery(2, 2), ctx)
    ended = await resumed(new, name=name, rotate_bytes=1)
    newest = await ended.write(delivery(3, 3), ctx)
    before = kept(tmp_path)
    if name == "archive":
        assert newest["segment"] == "events-000003.jsonl"

        with pytest.raises(Fatal, match="did not write; move it"):
            await resumed(old, name=name, rotate_bytes=1)

    ctx.journal = f"{ctx.journal}.1"  # the sink went elsewhere and came back
    with pytest.raises(Fatal, match="did not write; move it"):
        await resumed(None, name=name)
    assert kept(tmp_path) == before


async def test_what_comes_into_the_way_of_a_segment_is_left_alone(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    sink = await resumed(rotate_bytes=1)
    await sink.write(delivery(1, 1), ctx)
    place = tmp_path / "archive" / "events-000002.jsonl"
    put(place, b"precious\n")

    for _ in range(2):
        with pytest.raises(Fatal, match=rf"{place} .*did not write; move it away"):
            await sink.write(delivery(2, 2), ctx)

    assert content(place) == b"precious\n"


@pytest.mark.parametrize("name", ["events-000077.jsonl", "events-000002.jsonl"])
async def test_what_is_put_beside_or_in_place_of_a_leftover_is_left_alone(
    name: str, resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    crashed = await resumed(rotate_bytes=1)
    receipt = await crashed.write(delivery(1, 1), ctx)
    await crashed.write(delivery(2, 2), ctx)
    place = tmp_path / "archive" / name
    if place.exists():
        place.rename(tmp_path / "moved away")
    put(place, b"precious\n")

    with pytest.raises(Fatal, match=rf"{place} .*did not write; move it away"):
        await resumed(receipt, rotate_bytes=1)

    assert content(place) == b"precious\n"


async def test_what_comes_into_the_way_of_the_one_file_is_left_alone(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, file: Path
) -> None:
    sink = await resumed(name=NAME)
    put(file, b"precious\n")

    for _ in range(2):
        with pytest.raises(Fatal, match=rf"{file} .*did not write; move it away"):
            await sink.write(delivery(1, 1), ctx)

    assert content(file) == b"precious\n"


def kept(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder that are for readers."""
    found = (path for path in folder.rglob("*.jsonl") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


async def test_a_second_writer_is_noticed(
    receipt: Json, resumed: Resumed, delivery: DeliveryOf, ctx: Context, file: Path
) -> None:
    sink = await resumed(receipt, name=NAME)
    with file.open("ab") as other:
        other.write(b"mine\n")

    with pytest.raises(Fatal, match="somebody else writes to it"):
        await sink.write(delivery(4, 4), ctx)

    assert content(file).endswith(b"mine\n")


async def test_what_is_written_over_is_noticed(
    receipt: Json, resumed: Resumed, delivery: DeliveryOf, ctx: Context, file: Path
) -> None:
    sink = await resumed(receipt, name=NAME)
    with file.open("r+b") as other:
        other.seek(-20, os.SEEK_END)
        other.write(b"mine")

    with pytest.raises(Fatal, match="was changed while it was written"):
        await sink.write(delivery(4, 4), ctx)


@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_a_file_taken_away_while_writing_is_noticed(
    how: str, resumed: Resumed, delivery: DeliveryOf, ctx: Context, file: Path
) -> None:
    sink = await resumed(name=NAME)
    await sink.write(delivery(1, 3), ctx)
    remove(file)
    if how == "replaced":
        put(file, b"")

    with pytest.raises(Fatal, match=f"was {how} while it was written"):
        await sink.write(delivery(4, 4), ctx)


async def test_a_receipt_of_another_sink_is_refused(resumed: Resumed) -> None:
    with pytest.raises(Fatal, match="not one of a file sink"):
        await resumed({"rows": 3}, name=NAME)


@pytest.mark.parametrize("name", ["events.jsonl", "archive"])
async def test_an_entry_of_the_other_kind_is_refused(
    name: str, resumed: Resumed, tmp_path: Path
) -> None:
    place = tmp_path / name
    place.mkdir() if name.endswith("l") else place.touch()

    with pytest.raises(Fatal, match=f"{name} is a fol" if name.endswith("l") else "is a file; end"):
        await resumed(name=name)


@pytest.mark.parametrize("kind", ["link", "pipe"])
async def test_only_regular_files_are_written(kind: str, resumed: Resumed, file: Path) -> None:
    os.symlink("elsewhere", file) if kind == "link" else os.mkfifo(file)  # noqa: PTH211

    with pytest.raises(Fatal, match="symbolic link" if kind == "link" else "no regular file"):
        await resumed(name=NAME)


async def test_a_path_below_a_file_is_refused_with_path_and_uid(
    resumed: Resumed, tmp_path: Path
) -> None:
    (tmp_path / "blocker").touch()

    with pytest.raises(Fatal, match=rf"{tmp_path}/blocker.* by uid {os.geteuid()}"):
        await resumed(name="blocker/archive")


async def test_a_read_only_folder_is_refused_before_anything_is_read(
    resumed: Resumed, small_disk: Path
) -> None:
    remount_read_only(small_disk)

    with pytest.raises(Fatal, match=rf"{small_disk} cannot be written by uid 0"):
        await resumed(path=small_disk / NAME)


@pytest.mark.parametrize("name", [NAME, "archive", "archive-gz"])
async def test_a_full_disk_asks_for_a_retry_and_leaves_no_trace(
    name: str, resumed: Resumed, delivery: DeliveryOf, ctx: Context, small_disk: Path
) -> None:
    compress = "gzip" if name.endswith("gz") else "none"
    sink = await resumed(path=small_disk / name, compress=compress, rotate_bytes=1)
    receipt = await sink.write(delivery(1, 3), ctx)
    hog = small_disk / "hog"
    with pytest.raises(OSError, match="No space"):
        hog.write_bytes(b"x" * 100_000)

    for _ in range(3):
        with pytest.raises(Retry, match=rf"no room to write {small_disk}/.*No space") as refused:
            await sink.write(delivery(4, 4000), ctx)
        assert refused.value.everywhere
        assert size(small_disk / name) == receipt["offset"]
    hog.unlink()
    await sink.write(delivery(4, 6), ctx)

    assert size(small_disk / name) > receipt["offset"]


async def test_a_size_limit_counts_as_a_full_disk(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, file: Path
) -> None:
    sink = await resumed(name=NAME)
    receipt = await sink.write(delivery(1, 3), ctx)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(Retry, match="File too large"):
            await sink.write(delivery(4, 100), ctx)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert size(file) == receipt["offset"]


EIO_DRIVER = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from levada import Fatal
from levada import Delivery
from levada_file.sink import FileSink
from plugins.file.doubles import Context, event

async def main():
    # strace counts the calls of each thread by itself
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    sink, ctx = FileSink(path=sys.argv[1], rotate_bytes=10**9), Context()
    await sink.open(ctx)
    await sink.resume(None, ctx)
    for seq in range(1, 5):
        try:
            print((await sink.write(Delivery([event(seq)]), ctx))["segment"])
        except Fatal as error:
            print("Fatal:", error)
            break

asyncio.run(main())
"""


def run_with_eio(place: Path, when: str) -> list[str]:
    """Write four deliveries while the kernel answers EIO to some of the fdatasync calls."""
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("strace is not installed")
    inject = ["-f", "-o", "/dev/null", "-e", f"inject=fdatasync:error=EIO:when={when}"]
    command = [strace, *inject, sys.executable, "-c", EIO_DRIVER, str(place)]
    tests = str(Path(__file__).parents[2])
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": tests},
    )
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()


def test_after_eio_the_delivery_goes_to_a_new_segment(tmp_path: Path) -> None:
    printed = run_with_eio(tmp_path / "archive", when="3")

    first, second = "events-000001.jsonl", "events-000002.jsonl"
    assert printed == [first, first, second, second]
    written = [path.read_bytes().count(b"\n") for path in sorted((tmp_path / "archive").glob("e*"))]
    assert written == [2, 2]


def test_a_second_eio_stops_the_sink(tmp_path: Path) -> None:
    printed = run_with_eio(tmp_path / "archive", when="3+")

    assert printed[2] == (
        f"Fatal: the disk of {tmp_path / 'archive'} failed (Input/output error); "
        "check it before going on"
    )
    files = [path.name for path in (tmp_path / "archive").iterdir()]
    assert files == ["events-000001.jsonl"]


def test_eio_stops_a_single_file(tmp_path: Path) -> None:
    printed = run_with_eio(tmp_path / NAME, when="2")

    assert printed[1].startswith(f"Fatal: the disk of {tmp_path / NAME} failed")
    assert (tmp_path / NAME).read_bytes().count(b"\n") == 1


async def test_writing_before_open_is_a_mistake_of_the_caller(
    delivery: DeliveryOf, ctx: Context
) -> None:
    with pytest.raises(RuntimeError, match="open"):
        await FileSink(path=Path("x")).write(delivery(1, 1), ctx)
