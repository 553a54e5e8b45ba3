import asyncio
import gzip
import json
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from levada import ConfigError, Delivery, Fatal, Json, Sink
from levada.config import build
from levada_file.sink import FileSink
from plugins.file.conftest import DeliveryOf, Resumed
from plugins.file.doubles import Context


def numbers(*files: Path) -> list[int]:
    """Return the sequence numbers of the events in *files*, in order."""
    found: list[int] = []
    for file in files:
        text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        assert text.endswith(b"\n")
        found += [int(json.loads(line)["sequence"]) for line in text.splitlines()]
    return found


def segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


async def test_the_hook_offers_the_sink() -> None:
    import levada_file

    offered = levada_file.event_sinks()

    assert list(offered) == [FileSink]
    assert issubclass(FileSink, Sink)


@pytest.mark.parametrize("name", ["events.jsonl", "events.ndjson", "events.jsonl.gz"])
async def test_a_suffix_makes_one_file(
    name: str, resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    sink = await resumed(name=name)

    await sink.write(delivery(1, 3), ctx)
    await sink.write(delivery(4, 5), ctx)

    assert numbers(tmp_path / name) == [1, 2, 3, 4, 5]


async def test_a_folder_gets_numbered_segments(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    sink = await resumed()

    await sink.write(delivery(1, 3), ctx)

    assert [path.name for path in segments(tmp_path / "archive")] == ["events-000001.jsonl"]
    assert numbers(*segments(tmp_path / "archive")) == [1, 2, 3]


async def test_lines_are_the_delivery_s_own(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    sink = await resumed(name="events.jsonl")
    raw = Delivery(delivery(1, 2).events, format="raw")

    await sink.write(raw, ctx)

    assert (tmp_path / "events.jsonl").read_bytes() == b"".join(
        event.raw + b"\n" for event in raw.events
    )


async def test_resumes_after_the_receipt(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    first = await resumed(name="events.jsonl")
    receipt = await first.write(delivery(1, 3), ctx)
    await first.write(delivery(4, 6), ctx)  # the host dies before it commits this one

    second = await resumed(json.loads(json.dumps(receipt)), name="events.jsonl")

    assert numbers(tmp_path / "events.jsonl") == [1, 2, 3]
    await second.write(delivery(4, 6), ctx)
    assert numbers(tmp_path / "events.jsonl") == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("name", ["events.jsonl", "archive"])
async def test_a_first_write_that_was_never_committed_is_cut_off(
    name: str, resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    crashed = await resumed(name=name)
    await crashed.write(delivery(1, 3), ctx)

    sink = await resumed(None, name=name)
    await sink.write(delivery(1, 5), ctx)

    files = segments(tmp_path / "archive") if name == "archive" else [tmp_path / name]
    assert numbers(*files) == [1, 2, 3, 4, 5]


async def test_rotates_by_size(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    sink = await resumed(rotate_bytes=1000)

    for seq in range(1, 10):
        await sink.write(delivery(seq, seq), ctx)

    files = segments(tmp_path / "archive")
    assert [path.name for path in files[:2]] == ["events-000001.jsonl", "events-000002.jsonl"]
    assert all(path.stat().st_size <= 1000 for path in files)
    assert numbers(*files) == list(range(1, 10))


async def test_rotates_by_age_counted_from_the_receipt(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    first = await resumed(rotate_every=timedelta(hours=1))
    receipt = await first.write(delivery(1, 1), ctx)
    aged = {**receipt, "created": receipt["created"] - 3601}

    young = await resumed(receipt, rotate_every=timedelta(hours=1))
    await young.write(delivery(2, 2), ctx)
    old = await resumed(aged, rotate_every=timedelta(hours=1))
    await old.write(delivery(2, 2), ctx)

    assert [numbers(path) for path in segments(tmp_path / "archive")] == [[1], [2]]


async def test_rotates_what_is_of_an_age_to_come_as_the_clock_was_set_back(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    first = await resumed(rotate_every=timedelta(hours=1))
    receipt = await first.write(delivery(1, 1), ctx)
    ahead = {**receipt, "created": receipt["created"] + 365 * 86400}

    again = await resumed(ahead, rotate_every=timedelta(hours=1))
    await again.write(delivery(2, 2), ctx)

    assert [numbers(path) for path in segments(tmp_path / "archive")] == [[1], [2]]


async def test_a_new_segment_never_committed_is_removed(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    crashed = await resumed(rotate_bytes=1)
    receipt = await crashed.write(delivery(1, 1), ctx)
    await crashed.write(delivery(2, 2), ctx)
    assert len(segments(tmp_path / "archive")) == 2

    await resumed(receipt, rotate_bytes=1)

    assert [numbers(path) for path in segments(tmp_path / "archive")] == [[1]]


async def test_a_segment_newer_than_an_old_receipt_is_left_alone(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    sink = await resumed(rotate_bytes=1)
    old = await sink.write(delivery(1, 1), ctx)
    for seq in (2, 3, 4):
        await sink.write(delivery(seq, seq), ctx)
    before = segments(tmp_path / "archive")

    with pytest.raises(Fatal, match=r"events-00000\d\.jsonl holds \d+ bytes that this sink"):
        await resumed(old, rotate_bytes=1)

    assert segments(tmp_path / "archive") == before


async def test_each_delivery_is_one_gzip_member(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    sink = await resumed(compress="gzip")
    first = await sink.write(delivery(1, 50), ctx)
    await sink.write(delivery(51, 90), ctx)
    (file,) = segments(tmp_path / "archive")

    assert numbers(file) == list(range(1, 91))
    member = file.read_bytes()[: first["offset"]]
    assert len(gzip.decompress(member).splitlines()) == 50
    assert member[4:8] == b"\0\0\0\0"  # no time in the header


async def test_switching_compression_on_begins_a_segment(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    plain = await resumed()
    receipt = await plain.write(delivery(1, 2), ctx)

    packed = await resumed(receipt, compress="gzip")
    await packed.write(delivery(3, 4), ctx)

    files = segments(tmp_path / "archive")
    assert [path.name for path in files] == ["events-000001.jsonl", "events-000002.jsonl.gz"]
    assert numbers(*files) == [1, 2, 3, 4]


async def test_a_cancelled_write_leaves_nothing_behind(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    sink = await resumed(name="events.jsonl")
    await sink.write(delivery(1, 2), ctx)

    for _ in range(20):
        write = asyncio.create_task(sink.write(delivery(3, 400), ctx))
        await asyncio.sleep(0)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
    await sink.write(delivery(3, 4), ctx)

    assert numbers(tmp_path / "events.jsonl") == [1, 2, 3, 4]


async def test_the_mode_applies_whatever_the_umask(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        sink = await resumed(name="deep/archive", mode="0640")
        await sink.write(delivery(1, 1), ctx)
    finally:
        os.umask(before)

    (file,) = segments(tmp_path / "deep/archive")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o750


async def test_an_empty_file_left_for_us_is_used(
    resumed: Resumed, delivery: DeliveryOf, ctx: Context, tmp_path: Path
) -> None:
    (tmp_path / "events.jsonl").touch(mode=0o604)

    sink = await resumed(name="events.jsonl")
    await sink.write(delivery(1, 1), ctx)

    assert numbers(tmp_path / "events.jsonl") == [1]


def test_identity_is_the_same_through_every_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    linked = FileSink(path=tmp_path / "link" / "events.jsonl")

    assert linked.identity() == FileSink(path=tmp_path / "events.jsonl").identity()


def test_identity_is_the_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert FileSink(path=Path("x/../events.jsonl")).identity() == str(tmp_path / "events.jsonl")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": Path("e.jsonl"), "rotate_every": timedelta(1)}, "`rotate_every` needs a folder"),
        ({"path": Path("e.jsonl"), "compress": "gzip"}, "a `path` that ends in .gz"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: dict[str, Json], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        FileSink(**options)


@pytest.mark.parametrize("mode", ["640", "0640"])
def test_mode_is_octal(mode: str) -> None:
    assert FileSink(path=Path("x"), mode=mode).mode == mode
    with pytest.raises(ValueError, match="mode"):
        FileSink(path=Path("x"), mode="rw-r-----")


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_delivery_has_at_least_one_event(tmp_path: Path, batch_size: int) -> None:
    with pytest.raises(ConfigError, match="batch_size: must be at least 1"):
        build(FileSink, {"path": str(tmp_path / "out"), "batch_size": batch_size})
