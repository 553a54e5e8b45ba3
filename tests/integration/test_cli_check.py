"""`levada check`: everything wrong at once, then one request a source and nothing that delivers."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.test_cli_process import Desk
from levada.sandbox import KapsoWorld, Receiver, Sandbox

MISTAKES = """\
[sources.kapso]
base_url = "{url}"
page_sise = 3
window = 10
api_key = "my-own-key"

[sinks.webhok]
url = "x"

[sinks.file]
"""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.in_thread(kapso=KapsoWorld.sample(executions=3), stevora=None) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, sandbox: Sandbox) -> Desk:
    return Desk(tmp_path, {"KAPSO_API_KEY": sandbox.kapso_key})


def test_five_mistakes_are_told_at_once_without_a_request(desk: Desk, sandbox: Sandbox) -> None:
    desk.write("p.toml", MISTAKES.format(url=sandbox.kapso.url))

    done = desk.run("check", "p.toml")

    assert (done.returncode, done.stdout) == (2, "")
    *problems, total = done.stderr.splitlines()
    assert [problem.split(" ")[0] for problem in problems] == [
        "p.toml:3:",
        "p.toml:4:",
        "p.toml:5:",
        "p.toml:7:",
        "p.toml:10:",
    ]
    assert total == "5 problems"
    assert "my-own-key" not in done.stderr
    assert sandbox.kapso.requests == []


def test_asks_every_connector_and_leaves_no_mark(desk: Desk, sandbox: Sandbox) -> None:
    with Receiver.in_thread() as receiver:
        desk.write(
            "p.toml",
            f'[sources.kapso]\nbase_url = "{sandbox.kapso.url}"\n'
            '[sinks.file]\npath = "out/events"\n'
            f'[sinks.webhook]\nurl = "{receiver.url}"\n[sinks.stdout]\n',
        )

        done = desk.run("check", "p.toml")

    lines = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [line[:2] for line in lines] == [
        ["ok", "config"],
        ["ok", "kapso"],
        ["ok", "file"],
        ["ok", "webhook"],
        ["ok", "stdout"],
    ]
    assert lines[1][2] == "GET"
    assert lines[1][4] == "200"
    assert len(sandbox.kapso.requests) <= 2  # the workflows, and the executions of the first
    assert receiver.deliveries == []
    assert [path.name for path in desk.folder.iterdir()] == ["p.toml"]


def test_a_source_of_named_executions_is_asked_for_one(desk: Desk, sandbox: Sandbox) -> None:
    key = next(iter(sandbox.kapso.world.executions))
    desk.write(
        "p.toml",
        f'[sources.kapso]\nbase_url = "{sandbox.kapso.url}"\nexecutions = ["{key}"]\n'
        "[sinks.stdout]\n",
    )

    done = desk.run("check", "p.toml")

    assert f"{key} 200" in done.stdout
    assert len(sandbox.kapso.requests) == 1


def test_offline_asks_nobody(desk: Desk, sandbox: Sandbox) -> None:
    desk.write("p.toml", f'[sources.kapso]\nbase_url = "{sandbox.kapso.url}"\n[sinks.stdout]\n')

    done = desk.run("check", "p.toml", "--offline")

    assert (done.returncode, done.stdout) == (0, "ok  config  1 source, 1 sink\n")
    assert sandbox.kapso.requests == []


@pytest.mark.parametrize(
    "url", ["http://x:99999", "http://u:cnry@x/", "http://xn--/", "http://x?a=b"]
)
def test_a_malformed_url_is_told_offline_with_its_line(desk: Desk, url: str) -> None:
    desk.write("p.toml", f'[sources.kapso]\nbase_url = "{url}"\n[sinks.stdout]\n')

    done = desk.run("check", "--offline", "p.toml")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("p.toml:2: sources.kapso.base_url: a ")
    assert "cnry" not in done.stderr


def test_headers_that_cannot_be_sent_are_told_offline(desk: Desk) -> None:
    desk.env["KAPSO_API_KEY"] = "cn\nry"
    desk.write(
        "p.toml",
        "[sources.kapso]\n"
        '[sinks.a]\nuse = "webhook"\nurl = "https://a.test"\nheaders = { "A b" = "x" }\n'
        '[sinks.b]\nuse = "webhook"\nurl = "https://b.test"\nheaders = { Host = "x" }\n'
        '[sinks.c]\nuse = "webhook"\nurl = "https://c.test"\nheaders = { X-Key = "cnry\\n" }\n',
    )

    done = desk.run("check", "--offline", "p.toml")

    assert (done.returncode, done.stdout) == (2, "")
    *problems, total = done.stderr.splitlines()
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["p.toml:1", "sources.kapso.api_key"],
        ["p.toml:5", "sinks.a.headers"],
        ["p.toml:9", "sinks.b.headers"],
        ["p.toml:13", "sinks.c.headers"],
    ]
    assert total == "4 problems"
    assert "cnry" not in done.stderr


def test_what_fails_is_marked_and_decides_the_exit_code(desk: Desk, sandbox: Sandbox) -> None:
    with Receiver.in_thread() as receiver:
        port = receiver.port
    (desk.folder / "taken").write_text("")
    desk.write(
        "p.toml",
        f'[sources.kapso]\nbase_url = "{sandbox.kapso.url}"\n'
        f'[sinks.webhook]\nurl = "http://127.0.0.1:{port}"\n'
        '[sinks.file]\npath = "taken/events"\n',
    )

    done = desk.run("check", "p.toml", "--json", KAPSO_API_KEY="wrong")

    _, kapso, webhook, file = json.loads(done.stdout)
    assert done.returncode == 4
    assert not kapso["ok"]
    assert "environment variable KAPSO_API_KEY" in kapso["text"]
    assert webhook["text"] == f"127.0.0.1 port {port} cannot be reached: connection refused"
    assert webhook["exit_code"] == 75
    assert (file["exit_code"], "is no folder" in file["text"]) == (74, True)


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433"])
def test_public_only_keeps_the_command_from_the_machine_s_own_ports(
    desk: Desk, command: str, host: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = f"http://{host}:{listener.getsockname()[1]}"
        desk.write(
            "p.toml",
            '[pipeline]\nnetwork = "public-only"\ngive_up_after = "100ms"\n'
            f'[sources.kapso]\nbase_url = "{there}"\n[sinks.webhook]\nurl = "{there}"\n',
        )

        done = desk.run(command, "p.toml", KAPSO_API_KEY="x")

        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert done.returncode == 2
    assert "public" in done.stdout + done.stderr


def test_a_proxy_of_the_environment_is_not_asked_either(desk: Desk) -> None:
    with Receiver.in_thread() as receiver, Sandbox.in_thread(stevora=None) as sandbox:
        desk.write(
            "p.toml",
            f'[sources.kapso]\nbase_url = "{sandbox.kapso.url}"\n'
            f'[sinks.webhook]\nurl = "{receiver.url}"\n',
        )

        done = desk.run("check", "p.toml", KAPSO_API_KEY="sandbox", HTTP_PROXY="http://127.0.0.1:9")

    assert f"port {receiver.port} accepts connections" in done.stdout
