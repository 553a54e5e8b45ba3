"""Receivers that misbehave: what each costs, while a file beside the webhook gets everything."""

import json
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server
from threading import Thread
from typing import Any

import pytest

from integration.test_cli_process import until
from levada.sandbox import Fault, Receiver
from plugin_faults.site import ALL, Site, table

Account = dict[str, int]

TWENTY_RUNS = f"""\
async def partitions(self, position, ctx):
    for key in {ALL}:
        yield Partition(key, version=1, final=True)

async def read(self, partition, position, ctx):
    yield Batch([event(1, partition.key, id=partition.key)], position=1)
"""


def pipeline(site: Site, url: str, options: str = "", settings: str = "") -> None:
    tables = (
        "[sources.numbers]\n"
        f'[sinks.hook]\nuse = "webhook"\nurl = "{url}"\n{options}\n'
        '[sinks.file]\npath = "out.jsonl"\n'
    )
    site.pipeline(tables, settings)


def account(site: Site, sink: str = "hook") -> Account:
    """Return where the events of *sink* are, having seen that none is missing."""
    done = site.desk.run("status", "p.toml", "--json")
    found: dict[str, Any] = {each["name"]: each for each in json.loads(done.stdout)["sinks"]}
    parts = ("delivered", "pending", "dead", "dropped", "filtered")
    assert found[sink]["fetched"] == sum(found[sink][part] for part in parts) == len(ALL)
    return {part: found[sink][part] for part in parts if found[sink][part]}


def goes_on_beside(site: Site, code: int, *, said: str = "", within_s: float = 20) -> Account:
    """Run the pipeline; return the webhook's account, having seen that the file has everything."""
    began = time.monotonic()
    done = site.desk.run("run", "p.toml")

    assert time.monotonic() - began < within_s
    assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)
    assert account(site, "file") == {"delivered": len(ALL)}
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (code, "")
    return account(site)


@pytest.mark.parametrize(
    "status", table({str(it): it for it in (401, 403, 404, 302, 308, 405)}, quick={"401", "302"})
)
def test_one_that_refuses_everything_pauses_the_sink_instead_of_making_dead_letters(
    site: Site, status: int
) -> None:
    site.source("numbers", TWENTY_RUNS)
    answers = lambda _: (status, {"Location": "https://example.test/login"}, 0.0)  # noqa: E731
    with Receiver.in_thread(answers=answers) as receiver:
        pipeline(site, receiver.url, settings="give_up_after = '5s'")

        found = goes_on_beside(site, 75, said="correct `")

    assert found == {"pending": len(ALL)}
    assert len(receiver.requests) < 10 + 8  # what was under way when the tenth came


@pytest.mark.parametrize(
    ("status", "headers", "most"),
    [(429, {"Retry-After": "120"}, 8), (429, {}, 20), (500, {}, 20), (503, {}, 20)],
    ids=["429-retry-after", "429", "500", "503"],
)
def test_one_that_is_busy_keeps_its_events(
    site: Site, status: int, headers: dict[str, str], most: int
) -> None:
    with Receiver.in_thread(answers=lambda _: (status, headers, 0.0)) as receiver:
        pipeline(site, receiver.url)

        assert goes_on_beside(site, 75, said="is failing") == {"pending": len(ALL)}

    assert len(receiver.requests) <= most


def test_one_that_asked_for_time_is_left_alone_by_the_next_runs(site: Site) -> None:
    site.source("numbers", TWENTY_RUNS)
    with Receiver.in_thread(answers=lambda _: (429, {"Retry-After": "120"}, 0.0)) as receiver:
        pipeline(site, receiver.url, "lanes = 4")
        goes_on_beside(site, 75)
        before = len(receiver.requests)

        for _ in range(3):
            found = goes_on_beside(site, 75, said="429", within_s=10)
            assert found == {"pending": len(ALL)}

        assert len(receiver.requests) == before


def test_one_that_asked_for_time_is_asked_again_once_it_is_enabled(site: Site) -> None:
    answers = [(429, {"Retry-After": "120"}, 0.0)]
    with Receiver.in_thread(answers=lambda _: answers[0]) as receiver:
        pipeline(site, receiver.url)
        goes_on_beside(site, 75)

        answers[0] = (204, {}, 0.0)
        first, second = (site.desk.run("enable", "p.toml", "hook").stdout for _ in range(2))

        assert "sink 'hook' need not wait any longer" in first
        assert "sink 'hook' was not disabled, and waits for nothing" in second
        assert goes_on_beside(site, 0) == {"delivered": len(ALL)}


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (429, {"Retry-After": "3600"}),
        (204, {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "1"}),
    ],
    ids=["429", "rate limit"],
)
def test_one_that_is_busy_holds_back_no_neighbour_at_the_same_host(
    site: Site, status: int, headers: dict[str, str]
) -> None:
    def answer(delivery: Any) -> tuple[int, dict[str, str], float]:
        return (status, headers, 0.0) if delivery.path == "/busy" else (204, {}, 0.0)

    site.source("numbers", TWENTY_RUNS)
    with Receiver.in_thread(answers=answer) as receiver:
        site.pipeline(
            "[sources.numbers]\n"
            f"[sinks.busy]\nuse = 'webhook'\nurl = '{receiver.url}/busy'\n"
            f"[sinks.free]\nuse = 'webhook'\nurl = '{receiver.url}/free'\n"
        )
        process = site.desk.start("run", "p.toml", "--follow")
        until(lambda: sum(each.path == "/free" for each in receiver.deliveries) == len(ALL))
        process.terminate()
        process.communicate(timeout=5)

    assert account(site, "free") == {"delivered": len(ALL)}


def test_one_that_never_comes_to_its_answer_does_not_hold_up_the_others(site: Site) -> None:
    def answer(sock: Any) -> None:
        sock.recv(65536)
        while True:
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    site.source("numbers", TWENTY_RUNS)
    with raw_server(answer) as port:
        pipeline(site, f"http://127.0.0.1:{port}/")

        assert goes_on_beside(site, 75, said="interim", within_s=10) == {"pending": len(ALL)}


def test_one_that_is_gone_is_switched_off(site: Site) -> None:
    with Receiver.in_thread(answers=lambda _: (410, {}, 0.0)) as receiver:
        pipeline(site, receiver.url)

        found = goes_on_beside(site, 5, said="levada enable p.toml hook")

    assert found == {"pending": len(ALL)}
    assert len(receiver.requests) <= 8


def test_one_that_takes_only_small_batches_gets_small_ones(site: Site) -> None:
    def answer(delivery: Any) -> tuple[int, dict[str, str], float]:
        return (413 if len(delivery.events) > 3 else 204, {}, 0.0)

    with Receiver.in_thread(answers=answer) as receiver:
        pipeline(site, receiver.url, "batch = true\nlanes = 1")

        assert goes_on_beside(site, 0) == {"delivered": len(ALL)}

    assert sorted(receiver.event_ids) == sorted(ALL)


def test_one_that_takes_nothing_however_small_makes_dead_letters(site: Site) -> None:
    with Receiver.in_thread(answers=lambda _: (413, {}, 0.0)) as receiver:
        pipeline(site, receiver.url, "batch = true")

        assert goes_on_beside(site, 0, said="20 dead letters") == {"dead": len(ALL)}


def test_one_that_resets_after_reading_gets_the_same_again(site: Site) -> None:
    faults: list[Fault | None] = [Fault.reset(is_midway=True)]
    with Receiver.in_thread(faults=faults) as receiver:
        pipeline(site, receiver.url, "lanes = 1", "give_up_after = '20s'")

        assert goes_on_beside(site, 0) == {"delivered": len(ALL)}

    ids = [delivery.headers["webhook-id"] for delivery in receiver.deliveries]
    assert ids[0] == ids[1]
    assert len(set(ids)) == len(ALL)


def test_a_slow_one_is_left_after_its_timeout(site: Site) -> None:
    with Receiver.in_thread(answers=lambda _: (204, {}, 30.0)) as receiver:
        pipeline(site, receiver.url, "timeout = '200ms'")

        assert goes_on_beside(site, 75, said="is failing") == {"pending": len(ALL)}


@contextmanager
def raw_server(
    answer: Callable[[Any], None], context: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Answer each connection with a function of its socket; yield the port."""
    server = create_server(("127.0.0.1", 0))

    def one(sock: Any) -> None:
        with sock:
            try:
                if context is None:
                    answer(sock)
                    return
                with context.wrap_socket(sock, server_side=True) as secured:
                    answer(secured)
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                sock, _ = server.accept()
            except OSError:
                return
            Thread(target=one, args=[sock], daemon=True).start()

    Thread(target=serve, daemon=True).start()
    with server:
        yield server.getsockname()[1]
        server.shutdown(2)


def test_an_answer_of_64_mib_is_not_read(site: Site) -> None:
    sent = []

    def answer(sock: Any) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
        for _ in range(64):
            sock.sendall(b"x" * 1024 * 1024)
            sent.append(1)

    with raw_server(answer) as port:
        pipeline(site, f"http://127.0.0.1:{port}/", "lanes = 1")

        assert goes_on_beside(site, 0) == {"delivered": len(ALL)}

    assert len(sent) < len(ALL) * 16


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A folder with a certificate authority: ca.pem, ca.key."""
    openssl(
        tmp_path,
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ours"
        " -addext keyUsage=critical,keyCertSign",  # as Python 3.13 wants it
    )
    return tmp_path


def openssl(folder: Path, arguments: str) -> None:
    command = ["openssl", *arguments.split()]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def certified(folder: Path, *, name: str = "IP:127.0.0.1", days: str = "-days 2") -> ssl.SSLContext:
    openssl(folder, "req -newkey rsa:2048 -nodes -keyout it.key -out it.csr -subj /CN=it")
    (folder / "it.ext").write_text(f"subjectAltName={name}\nauthorityKeyIdentifier=keyid\n")
    openssl(
        folder,
        f"x509 -req -in it.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out it.pem {days}"
        " -extfile it.ext",
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "it.pem", folder / "it.key")
    return context


def accept(sock: Any) -> None:
    with sock.makefile("rb") as received:
        length = 0
        while line := received.readline():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split()[1])
            if line == b"\r\n":
                received.read(length)
                sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


@pytest.mark.parametrize(
    ("changes", "trust", "code", "reason"),
    [
        ({}, True, 0, ""),
        (
            {},
            False,
            75,
            "unable to get local issuer certificate; make sure that the URL is right, then trust its authority (`ca_file`",
        ),
        ({"name": "DNS:elsewhere.test"}, True, 75, "for '127.0.0.1'; correct the URL"),
        (
            {"days": "-days -1"},
            True,
            75,
            "certificate not trusted: certificate has expired; it has to be renewed there",
        ),
    ],
    ids=["good", "unknown issuer", "wrong name", "expired"],
)
def test_a_certificate_is_never_let_off(
    site: Site, authority: Path, *, changes: dict[str, str], trust: bool, code: int, reason: str
) -> None:
    try:
        context = certified(authority, **changes)
    except subprocess.CalledProcessError:
        pytest.skip("this openssl makes no such certificate")
    with raw_server(accept, context) as port:
        trusted = 'ca_file = "ca.pem"' if trust else ""
        pipeline(site, f"https://127.0.0.1:{port}/", trusted)

        found = goes_on_beside(site, code, said=reason)

    assert found == {"delivered" if code == 0 else "pending": len(ALL)}


def test_a_certificate_file_that_is_not_there_is_a_configuration_error(site: Site) -> None:
    pipeline(site, "https://127.0.0.1:9/", 'ca_file = "gone.pem"')

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 2
    assert "gone.pem" in done.stderr
    assert "plugin" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stuck_one_does_not_hold_up_a_stop(site: Site, number: signal.Signals) -> None:
    with Receiver.in_thread(answers=lambda _: (204, {}, 30.0)) as receiver:
        pipeline(site, receiver.url)
        process = site.desk.start("run", "p.toml")
        until(lambda: receiver.deliveries)

        process.send_signal(number)
        _, err = process.communicate(timeout=3)

    assert process.returncode == 0
    assert "sink 'hook' did not end its write" in err
    assert account(site) == {"pending": len(ALL)}
