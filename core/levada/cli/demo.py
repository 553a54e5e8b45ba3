"""`levada demo`."""

import shutil
import sys
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from levada.cli.command import Command, console_of
from levada.cli.console import Console
from levada.cli.exit_codes import ExitCode
from levada.cli.text import count, cut, safe

if TYPE_CHECKING:
    from levada.report import Report
    from levada.sandbox import Receiver, Sandbox

FOLDER = Path("levada-demo")
MOST_FOLDERS = 100
LINES_SHOWN = 2

PIPELINE = """\
# Written by `levada demo`. It is a pipeline file like any other: keep it, change it.
# The vendors and the receiver are local ones; `{sandbox}` runs them again.

[sources.kapso]
base_url = "{kapso}"
api_key = {{ file = "keys/vendor" }}       # secrets only by reference: env, file or command

[sources.stevora]
base_url = "{stevora}"
api_key = {{ file = "keys/vendor" }}

[sinks.archive]                          # every event, exactly once
use = "file"
path = "events.jsonl"

[sinks.alerts]                           # what went wrong, as signed webhooks
use = "webhook"
url = "{webhooks}/alerts"
secret = {{ file = "keys/webhook" }}
only = ["*.failed", "*.cancelled"]

[sinks.console]                          # beginnings and ends, to look at
use = "stdout"
only = ["run.*"]
"""


@click.command("demo", cls=Command)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to put the files; default: a new folder levada-demo.",
)
@click.pass_context
def demo_command(ctx: click.Context, directory: Path | None) -> ExitCode:
    """Show it all in a few seconds: no account, no key, no network.

    Starts a local Kapso and Stevora and a receiver for webhooks, writes a pipeline file and runs
    it just as `levada run` would. Events go to stdout, what is said about them to stderr.
    """
    from levada.cli import exit_codes

    console = console_of(ctx)
    folder = _folder(directory)
    with ExitStack() as stack:
        vendors, receiver = _start(stack)
        file = _write(folder, vendors, receiver)
        _introduce(console, file)
        report = _run(file, console)
        _conclude(console, file, report, receiver)
    _suggest(console, file, vendors, receiver)
    return exit_codes.of_report(report)


def _folder(wanted: Path | None) -> Path:
    """Return a folder with nothing in it; what somebody has is never touched."""
    from levada.errors import ConfigError

    if wanted is not None:
        if wanted.exists() and any(wanted.iterdir()):
            raise ConfigError(f"{wanted} is not empty; choose another --directory")
        return wanted
    names = [FOLDER, *(Path(f"{FOLDER}-{number}") for number in range(2, MOST_FOLDERS))]
    for folder in names:
        if not folder.exists() or not any(folder.iterdir()):
            return folder
    raise ConfigError(f"there are {MOST_FOLDERS} demos here; remove some, or choose a --directory")


def _start(stack: ExitStack) -> "tuple[Sandbox, Receiver]":
    from levada.cli import playground
    from levada.sandbox import Receiver, run_in_thread

    vendors = playground.sandbox(
        kapso_port=playground.free(playground.KAPSO_PORT),
        stevora_port=playground.free(playground.STEVORA_PORT),
    )
    receiver = Receiver(
        port=playground.free(playground.RECEIVER_PORT), secret=playground.signing_secret()
    )
    return stack.enter_context(run_in_thread(vendors)), stack.enter_context(run_in_thread(receiver))


def _write(folder: Path, vendors: "Sandbox", receiver: "Receiver") -> Path:
    from levada.cli import playground

    keys = folder / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    for name, key in (("vendor", vendors.kapso_key), ("webhook", receiver.secret or "")):
        (keys / name).write_text(f"{key}\n", encoding="utf-8")  # 0600, thanks to our umask
    file = folder / "pipeline.toml"
    text = PIPELINE.format(
        kapso=vendors.kapso.url,
        stevora=vendors.stevora.url,
        webhooks=receiver.url,
        sandbox=playground.command(vendors, receiver),
    )
    file.write_text(text, encoding="utf-8")
    return file


def _introduce(console: Console, file: Path) -> None:
    console.line("A Kapso and a Stevora of our own are running, and a receiver for webhooks.")
    console.line(safe(f"Wrote {file}: two sources, three sinks. Running it:"))
    console.line()
    console.line(safe(f"$ levada run {file}"), bold=True)


def _run(file: Path, console: Console) -> "Report":
    from levada.cli import carrying, setups, summary

    report = carrying.carry(setups.load(file), console)
    summary.show(report, console, file=str(file))
    return report


def _conclude(console: Console, file: Path, report: "Report", receiver: "Receiver") -> None:
    """Say what was written where, and show some of it."""
    archive = file.parent / "events.jsonl"
    taken = receiver.accepted
    delivered = {sink.name: sink.delivered for sink in report.sinks}
    console.line()
    console.line("What was written where:", bold=True)
    console.line(safe(f"  console  {count(delivered['console'], 'event')}, above"))
    console.line(safe(f"  archive  {count(delivered['archive'], 'event')} in {archive}"))
    console.line(
        safe(f"  alerts   {count(len(taken), 'webhook')} at {receiver.url}/alerts, ")
        + ("every signature good" if len(taken) == len(receiver.deliveries) else "some refused")
    )
    console.line()
    console.line(safe(f"{archive} begins:"), bold=True)
    with archive.open(encoding="utf-8") as lines:
        for line in islice(lines, LINES_SHOWN):
            console.line(safe(f"  {cut(line.rstrip(), console.width - 2)}"), dim=True)


def _suggest(console: Console, file: Path, vendors: "Sandbox", receiver: "Receiver") -> None:
    from levada.cli import playground

    folder = file.parent
    console.line()
    console.line("Try next:", bold=True)
    for command, why in (
        (f"levada status {file}", "how far every source and sink is"),
        ("levada describe kapso", "every option, explained"),
        ("", ""),
        (playground.command(vendors, receiver), "in another terminal: the same vendors, growing"),
        (f"levada run {file} --follow", "only what is new, until Ctrl-C"),
        ("levada init kapso file", "a pipeline file of your own"),
        (f"rm -r {folder}", "leave no trace"),
    ):
        typed = (
            command.replace("levada", _program(), 1) if command.startswith("levada") else command
        )
        console.line(safe(f"  {typed:<50}  {why}".rstrip()))


def _program() -> str:
    """Return what to type for `levada`: as it was typed now, where a bare name finds nothing."""
    return "levada" if shutil.which("levada") else sys.argv[0]
