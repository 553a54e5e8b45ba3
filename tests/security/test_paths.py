"""Nothing is written, and nothing asked, outside of where the pipeline file says."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.test_cli_process import Desk
from levada import Gone
from levada.http.address import Address
from levada.sandbox import Fault, KapsoWorld, RecordedRequest, Response, Sandbox

CLIMBING = [
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    ".",
    "a/../../b",
    "%2e%2e",
    "..%2f",
    "a\\..\\b",
]
ODD = [
    "",
    "?x=1",
    "#x",
    "a?b=c",
    "//evil.test/",
    "http://evil.test/",
    "@evil.test",
    "\r\nX: 1",
    "\0",
]


@pytest.mark.parametrize(
    "path",
    [
        "a/../b",
        "/a/./b",
        "..",
        "/..",
        "%2e%2e/x",
        "/a/.%2E",
        "a/%2e",
        "..%2Fb",
        "a%2f..%2fb",
        "a%5C..",
        "a%5c.%2eb/..",
    ],
)
def test_a_path_does_not_climb(path: str) -> None:
    with pytest.raises(Gone, match=r"'\.' or '\.\.'"):
        Address.parse("https://api.test/v1").path(path)


@given(st.text())
def test_whatever_a_path_is_made_of_the_request_stays_below_its_base(text: str) -> None:
    address = Address.parse("https://api.test/v1")
    try:
        target = address.target(address.path(text), None).decode()
    except (ValueError, Gone):
        return

    assert target.startswith("/v1")
    assert not {"..", "."} & set(unquote(target).split("/"))
    assert not set("?#\\ \r\n\0") & set(target)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.in_thread(kapso=KapsoWorld.sample(executions=6)) as running:
        yield running


@pytest.mark.parametrize("name", CLIMBING + ODD)
def test_an_id_of_a_vendor_leads_nowhere_else(desk: Desk, sandbox: Sandbox, name: str) -> None:
    """An id is a vendor's word: asked for, it is one segment of a path, or nothing is asked."""

    def listed(request: RecordedRequest) -> Fault | None:
        if not request.path.endswith("/executions"):
            return None
        row = {"id": name, "status": "ended", "started_at": "2026-03-02T09:00:00Z"}
        row["last_event_at"] = row["ended_at"] = row["started_at"]
        body = json.dumps({"data": [row], "paging": {"cursors": {}}}).encode()
        return Fault(answer=Response(200, body, {"Content-Type": "application/json"}))

    sandbox.kapso.faults = listed
    desk.write(
        "p.toml",
        f'[sources.kapso]\nbase_url = "{sandbox.kapso.url}"\n[sinks.file]\npath = "out"\n'
        '[pipeline]\ngive_up_after = "50ms"\n',
    )

    done = desk.run("run", "p.toml", KAPSO_API_KEY=sandbox.kapso_key)

    assert "internal error" not in done.stderr
    assert sandbox.kapso.requests
    for request in sandbox.kapso.requests:
        assert not {"..", "."} & set(request.path.split("/"))
        assert "evil" not in request.headers["host"]
    assert {path.name for path in desk.folder.iterdir()} <= {"p.toml", ".levada", "out"}


def write(desk: Desk, sandbox: Sandbox, path: str) -> None:
    desk.write(
        "p.toml",
        f'[sources.kapso]\nbase_url = "{sandbox.kapso.url}"\n'
        f"[sinks.file]\npath = {json.dumps(path)}\n",
    )


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nul\0.jsonl", "a string with a NUL in it"),
        ("", "an empty string"),
        ("x" * 300 + ".jsonl", "too long"),
        ("x" * 300, "too long"),
        ("/".join(["x" * 200] * 30), "too long"),
        ("there.jsonl/events.jsonl", "File exists"),
        ("link.jsonl", "is a symbolic link"),
        ("nowhere.jsonl", "is a symbolic link"),
        ("pipe.jsonl", "is no regular file"),
        ("/dev/null", "is a file"),
    ],
    ids=[
        "NUL",
        "empty",
        "long",
        "long-folder",
        "deep",
        "below-a-file",
        "link",
        "dangling",
        "pipe",
        "device",
    ],
)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_path_that_cannot_be_written_is_said_to_be_and_nothing_is_touched(
    desk: Desk, sandbox: Sandbox, command: str, path: str, says: str
) -> None:
    (desk.folder / "there.jsonl").write_text("theirs\n")
    (desk.folder / "link.jsonl").symlink_to("there.jsonl")
    (desk.folder / "nowhere.jsonl").symlink_to("nothing.jsonl")
    os.mkfifo(desk.folder / "pipe.jsonl")
    write(desk, sandbox, path)

    done = desk.run(command, "p.toml", KAPSO_API_KEY=sandbox.kapso_key)

    text = done.stdout + done.stderr
    if command == "run":
        assert says in text
        assert done.returncode == 2
    assert "Traceback" not in text
    assert "internal error" not in text
    assert "plugin" not in text
    assert (desk.folder / "there.jsonl").read_text() == "theirs\n"
    assert not (desk.folder / "nothing.jsonl").exists()


def test_a_segment_is_not_written_through_a_link(desk: Desk, sandbox: Sandbox) -> None:
    (desk.folder / "out").mkdir()
    (desk.folder / "theirs").touch()
    (desk.folder / "out" / "events-000001.jsonl").symlink_to("../theirs")
    write(desk, sandbox, "out")

    done = desk.run("run", "p.toml", KAPSO_API_KEY=sandbox.kapso_key)

    assert done.returncode == 5
    assert (desk.folder / "theirs").read_bytes() == b""


def test_a_hidden_file_of_ours_is_not_written_through_a_link(desk: Desk, sandbox: Sandbox) -> None:
    (desk.folder / "theirs").write_text("theirs\n")
    (desk.folder / ".events.jsonl.levada").symlink_to("theirs")
    write(desk, sandbox, "events.jsonl")

    done = desk.run("run", "p.toml", KAPSO_API_KEY=sandbox.kapso_key)

    assert done.returncode == 74
    assert (desk.folder / "theirs").read_text() == "theirs\n"


def test_dots_in_a_path_are_the_operator_s_to_write(desk: Desk, sandbox: Sandbox) -> None:
    write(desk, sandbox, "a/../b/../events.jsonl")

    done = desk.run("run", "p.toml", KAPSO_API_KEY=sandbox.kapso_key)

    assert done.returncode == 0
    assert (desk.folder / "events.jsonl").stat().st_size
    assert not Path(desk.folder / "b").exists()
