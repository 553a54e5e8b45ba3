"""The real command, with keys that nothing may show: every subcommand, and what can go wrong."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from textwrap import dedent
from urllib.parse import quote

import pytest
from attrs import define, field

from integration.test_cli_process import Desk
from levada.cli.root import HOMES
from levada.sandbox import (
    Fault,
    KapsoWorld,
    Receiver,
    RecordedRequest,
    Response,
    Sandbox,
    StevoraWorld,
)
from security import canaries, leaky
from security.canaries import HEADER, KAPSO, SIGNING, STEVORA, echo, found_below, found_in
from security.installing import install

WHERE_SECRETS_ARE = ("p.toml", "stevora.key")


@define
class Stage:
    """A pipeline between two vendors and a receiver, and all that was said."""

    desk: Desk
    sandbox: Sandbox
    receiver: Receiver
    said: list[str] = field(factory=list)
    codes: list[int] = field(factory=list)

    def run(self, *arguments: str, **env: str) -> CompletedProcess[str]:
        """Run ``levada``, and keep what it prints."""
        done = self.desk.run(*arguments, **env)
        self.said += [done.stdout, done.stderr]
        self.codes.append(done.returncode)
        return done

    def pipeline(self, *, sinks: str = "", kapso: str = "") -> None:
        """Write the pipeline file."""
        text = f"""\
            [sources.kapso]
            base_url = "{kapso or self.sandbox.kapso.url}"
            api_key = {{ env = "KAPSO_CANARY" }}

            [sources.stevora]
            base_url = "{self.sandbox.stevora.url}"
            api_key = {{ file = "stevora.key" }}

            [sinks.archive]
            use = "file"
            path = "archive"

            [sinks.hook]
            use = "webhook"
            url = "{self.receiver.url}/take?token=query-of-a-url"
            secret = {{ env = "SIGNING_CANARY" }}
            headers = {{ Authorization = "Bearer {HEADER}" }}
            schedule = ["0s", "10ms"]

            [pipeline]
            poll_interval = "100ms"
            give_up_after = "300ms"
            """
        self.desk.write("p.toml", dedent(text) + dedent(sinks))

    def leaks(self) -> list[str]:
        """Return every canary that was printed or written."""
        printed = [f"printed: {hit}" for text in self.said for hit in found_in(text)]
        return printed + found_below(self.desk.folder, apart_from=WHERE_SECRETS_ARE)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    worlds = {"kapso": KapsoWorld.sample(executions=6), "stevora": StevoraWorld.sample(runs=6)}
    env = {"KAPSO_CANARY": KAPSO, "SIGNING_CANARY": SIGNING, "KAPSO_API_KEY": KAPSO}
    key = tmp_path / "desk" / "stevora.key"
    key.parent.mkdir()
    key.touch(mode=0o600)
    key.write_text(STEVORA)
    with (
        Sandbox.in_thread(**worlds, kapso_key=KAPSO, stevora_key=STEVORA) as sandbox,
        Receiver.in_thread(secret=SIGNING) as receiver,
    ):
        stage = Stage(Desk(key.parent, env), sandbox, receiver)
        stage.pipeline()
        yield stage


def test_the_search_finds_what_is_there() -> None:
    for name, value in canaries.ALL.items():
        assert any(hit.startswith(name) for hit in found_in(f'xx"{value}"'))
        for form in canaries.written(value):
            assert found_in(f"before {form} after".encode())
    assert not found_in("cnry [redacted]")


# Each command as it is used, with {kapso} for where the vendor is.
USES = [
    "init kapso webhook --output new.toml",
    "check p.toml --debug",
    "check p.toml --offline --json",
    "run p.toml --dry-run --debug",
    "run p.toml --debug",
    "run p.toml --json",
    "status p.toml --json",
    "status p.toml --debug",
    "verify p.toml --debug",
    "enable p.toml hook --debug",
    "dead list p.toml --json",
    "repair p.toml --debug",
    "pull kapso --set base_url={kapso} --debug",
    "pull kapso --set base_url={kapso} --set api_key.env=KAPSO_CANARY --limit 3",
    "plugins --json",
    "describe webhook --json",
    "schema",
    "demo --debug --directory demo",
    "sandbox --help",
]


def test_every_subcommand_is_used() -> None:
    assert {use.split()[0] for use in USES} >= set(HOMES)


def test_no_subcommand_shows_a_secret_when_all_is_well(stage: Stage) -> None:
    for use in USES:
        stage.run(*use.format(kapso=stage.sandbox.kapso.url).split())

    assert stage.receiver.events
    assert KAPSO in {request.headers.get("x-api-key") for request in stage.sandbox.kapso.requests}
    assert stage.leaks() == []


def refusal(status: int, **headers: str) -> Callable[[RecordedRequest], Fault]:
    """Return a fault that answers with all that was sent, as JSON."""
    return lambda request: canaries.echoing(request, status, **headers)


def text(status: int) -> Callable[[RecordedRequest], Fault]:
    """Return a fault that answers with all that was sent, as text."""
    return lambda request: Fault(answer=Response(status, echo(request).encode()))


VENDOR_FAULTS = {
    "401": refusal(401),
    "403 as text": text(403),
    "404": refusal(404),
    "422": refusal(422),
    "429": refusal(429, **{"Retry-After": "9999"}),
    "not JSON": text(200),
    "other JSON": refusal(200),
    "redirect elsewhere": refusal(302, Location=f"http://127.0.0.1:9/?key={KAPSO}"),
    "redirect here": refusal(302, Location=f"/{KAPSO}?key={KAPSO}"),
    "redirect to nowhere": refusal(302, Location=f"http://[{KAPSO}"),
}

PASSING_FAULTS = {
    "500": refusal(500),
    "reset": lambda request: Fault.reset(is_midway=True),
}


@pytest.mark.parametrize("fault", VENDOR_FAULTS.values(), ids=VENDOR_FAULTS)
def test_no_answer_of_a_vendor_brings_a_secret_out(
    stage: Stage, fault: Callable[[RecordedRequest], Fault]
) -> None:
    stage.sandbox.kapso.faults = fault
    stage.sandbox.stevora.faults = fault

    stage.run("check", "p.toml", "--debug")
    stage.run("run", "p.toml", "--debug")
    stage.run("status", "p.toml", "--json")
    stage.run("pull", "kapso", "--set", f"base_url={stage.sandbox.kapso.url}", "--debug")

    assert stage.sandbox.kapso.requests
    assert any(stage.codes)
    assert stage.leaks() == []


@pytest.mark.parametrize("fault", PASSING_FAULTS.values(), ids=PASSING_FAULTS)
def test_no_failure_that_is_waited_for_brings_a_secret_out(
    stage: Stage, fault: Callable[[RecordedRequest], Fault]
) -> None:
    stage.sandbox.kapso.faults = fault
    stage.sandbox.stevora.faults = fault

    stage.run("run", "p.toml", "--debug")

    assert any(stage.codes)
    assert stage.leaks() == []


RECEIVER_FAULTS = {
    "400": refusal(400),
    "401": refusal(401),
    "410": refusal(410),
    "413": refusal(413),
    "500": refusal(500),
    "503 as text": text(503),
    "redirect": refusal(307, Location=f"http://127.0.0.1:9/?key={HEADER}"),
}


@pytest.mark.parametrize("fault", RECEIVER_FAULTS.values(), ids=RECEIVER_FAULTS)
def test_no_answer_of_a_receiver_brings_a_secret_out(
    stage: Stage, fault: Callable[[RecordedRequest], Fault]
) -> None:
    stage.receiver.faults = fault

    stage.run("run", "p.toml", "--debug")
    stage.run("status", "p.toml", "--json")
    stage.run("dead", "list", "p.toml", "--json")

    assert stage.receiver.requests
    assert stage.leaks() == []


def test_an_unreachable_host_brings_no_secret_out(stage: Stage) -> None:
    stage.pipeline(kapso="http://127.0.0.1:9")

    for command in ("check", "run", "verify", "status"):
        stage.run(command, "p.toml", "--debug")

    assert any(stage.codes)
    assert stage.leaks() == []


@pytest.mark.parametrize(
    "wrong",
    [
        f'[sinks.more]\nuse = "webhook"\nurl = "http://me:{quote(HEADER, safe="")}@127.0.0.1/"',
        f'[sinks.more]\nuse = "webhook"\nurl = "http://127.0.0.1/"\nsecret = "{SIGNING}"',
        f'[sinks.more]\nuse = "webhook"\nurl = "http://127.0.0.1/"\nsecret = {{ env = "{SIGNING}" }}',
        '[sinks.more]\nuse = "webhook"\nurl = "http://127.0.0.1/"\nsecret = { env = "KAPSO_CANARY" }',
        f'[sinks.more]\nuse = "webhook"\nurl = "http://127.0.0.1/"\nlanes = "{SIGNING}"',
    ],
    ids=[
        "in the URL",
        "in the file",
        "as a variable",
        "of another kind",
        "as a number",
    ],
)
def test_a_mistake_in_the_file_brings_no_secret_out(stage: Stage, wrong: str) -> None:
    stage.pipeline(sinks=wrong)

    stage.run("check", "p.toml", "--debug")
    stage.run("run", "p.toml", "--debug")

    assert any(stage.codes)
    assert stage.leaks() == []


def env_with_leaky(folder: Path) -> dict[str, str]:
    """Install the careless plugin; return the environment in which it is found."""
    install(leaky, folder)
    path = [str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}


LOOKS = ("status p.toml --json", "dead list p.toml --json")


@pytest.mark.parametrize("way", [*leaky.WAYS, *leaky.QUIETLY])
def test_a_careless_sink_brings_no_secret_out(stage: Stage, tmp_path: Path, way: str) -> None:
    env = env_with_leaky(tmp_path / "site")
    stage.pipeline(sinks=f'[sinks.leaky]\nkey = {{ env = "SIGNING_CANARY" }}\nway = "{way}"\n')

    stage.run("run", "p.toml", "--json", **env)
    stage.run("run", "p.toml", "--debug", **env)
    for look in LOOKS:
        stage.run(*look.split(), **env)

    shown = "[redacted]" in "".join(stage.said)
    assert shown or way in {"crash", "log badly", *leaky.QUIETLY}
    assert stage.leaks() == []


@pytest.mark.parametrize("way", leaky.EARLY)
def test_a_sink_that_refuses_its_secret_does_not_show_it(
    stage: Stage, tmp_path: Path, way: str
) -> None:
    env = env_with_leaky(tmp_path / "site")
    text = f"""\
        [sources.kapso]
        api_key = {{ env = "KAPSO_CANARY" }}
        [sinks.leaky]
        key = {{ env = "SIGNING_CANARY" }}
        way = "{way}"
        """
    stage.desk.write("p.toml", dedent(text))

    for command in ("check p.toml", "run p.toml", "run p.toml --debug"):
        assert stage.run(*command.split(), **env).returncode == 2

    assert "".join(stage.said).count("[redacted]") >= 3
    assert stage.leaks() == []


@pytest.mark.parametrize("way", leaky.SOURCE_WAYS)
def test_a_careless_source_brings_no_secret_out(stage: Stage, tmp_path: Path, way: str) -> None:
    env = env_with_leaky(tmp_path / "site")
    stage.pipeline(sinks=f'[sources.leaky]\nkey = {{ env = "SIGNING_CANARY" }}\nway = "{way}"\n')

    stage.run("check", "p.toml", "--json", **env)
    stage.run("run", "p.toml", "--debug", **env)
    stage.run("run", "p.toml", "--json", **env)
    stage.run("pull", "leaky", "--set", "key.env=SIGNING_CANARY", "--set", f"way={way}", **env)
    for look in LOOKS:
        stage.run(*look.split(), **env)

    assert "[redacted]" in "".join(stage.said)
    assert stage.leaks() == []
