"""The installed `levada` as a process: how it starts, what it imports; and how the others run it."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

LEVADA = Path(sys.executable).with_name("levada")

HEAVY = {"attr", "attrs", "asyncio", "cattrs", "h11", "httpx", "msgspec", "pluggy", "sqlite3"}

STARTED: list["subprocess.Popen[str]"] = []  # which a test that fails leaves running


@frozen
class Desk:
    """A folder to work in, and an environment without what the developer has set."""

    folder: Path
    env: dict[str, str] = field(factory=dict)

    def command(self, *arguments: object, **env: str) -> dict[str, Any]:
        """Return the keyword arguments of `subprocess.run` for ``levada *arguments``."""
        ours = ("LEVADA_", "KAPSO_", "STEVORA_", "NO_COLOR")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {
            "args": [str(LEVADA), *map(str, arguments)],
            "cwd": self.folder,
            "env": {**clean, **self.env, **env},
            "text": True,
        }

    def run(self, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``levada *arguments`` to its end."""
        command = self.command(*arguments, **env)
        return subprocess.run(**command, capture_output=True, check=False, timeout=50)

    def start(self, *arguments: object, **env: str) -> "subprocess.Popen[str]":
        """Start ``levada *arguments`` with pipes."""
        command = self.command(*arguments, **env)
        process = subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        STARTED.append(process)
        return process

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.folder / name
        path.write_text(text)
        return path

    def ids(self, name: str) -> list[str]:
        """Return the ids of the events in a file, as they are there."""
        path = self.folder / name
        return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def until(condition: Callable[[], object], *, timeout_s: float = 20) -> None:
    """Wait until *condition* holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def unmeasured() -> dict[str, str]:
    """Return the environment without what makes coverage start, and import, in a subprocess."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def test_help_imports_nothing_heavy(desk: Desk) -> None:
    probe = (
        "import sys; from levada.cli.root import levada;"
        "levada.main(['--help'], standalone_mode=False); print('#', *sorted(sys.modules))"
    )

    out = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, env=unmeasured()
    )

    imported = set(out.stdout.rpartition("#")[2].split())
    assert imported & HEAVY == set()
    assert not [name for name in imported if name.startswith("levada_")]


def test_help_is_quick(desk: Desk) -> None:
    command = {**desk.command("--help"), "env": unmeasured()}

    def took() -> float:
        """Return the processor time: what else runs on the machine does not count."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(**command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert min(took() for _ in range(5)) < 0.3  # 0.08 s as a rule


def test_help_names_every_command_and_every_exit_code(desk: Desk) -> None:
    from levada.cli.exit_codes import ExitCode
    from levada.cli.root import HOMES

    words = set(desk.run("--help").stdout.split())

    assert words >= {*HOMES, *(str(code.value) for code in ExitCode)}


def test_a_module_can_be_run_too(desk: Desk) -> None:
    out = subprocess.run(
        [sys.executable, "-m", "levada", "--version"], capture_output=True, text=True, check=True
    )

    assert out.stdout.startswith("levada 0.")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["rnu"], "Did you mean 'run'?"),
        (["run", "--folow", "x.toml"], "Did you mean '--follow'?"),
        (["pull", "kapsoo"], "did you mean 'kapso'?"),
        (["describe", "webhok"], "did you mean 'webhook'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_near_misses_get_a_hint(desk: Desk, arguments: list[str], hint: str) -> None:
    done = desk.run(*arguments)

    assert done.returncode == 2
    assert hint in done.stderr


def test_a_missing_file_gets_a_hint(desk: Desk) -> None:
    desk.write("pipeline.toml", "")

    done = desk.run("run", "pipline.toml")

    assert done.returncode == 2
    assert "pipline.toml does not exist; did you mean pipeline.toml?" in done.stderr


def test_a_broken_pipe_is_no_failure(desk: Desk) -> None:
    process = desk.start("schema")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()

    assert (process.wait(20), process.stderr.read()) == (0, "")
    process.stderr.close()


def test_a_full_disk_is_local_io(desk: Desk) -> None:
    with Path("/dev/full").open("w") as full:
        command = desk.command("schema")
        done = subprocess.run(
            **command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=20
        )

    assert done.returncode == 74
    assert "standard output: No space left on device" in done.stderr


def test_closed_standard_streams_end_nothing(desk: Desk) -> None:
    closing = ["sh", "-c", f"exec {LEVADA} plugins >&- 2>&-"]

    done = subprocess.run(closing, check=False, timeout=20, cwd=desk.folder)

    assert done.returncode == 0


def test_ctrl_c_is_quiet_anywhere(desk: Desk) -> None:
    desk.write("slow.py", "import time; open('slow', 'w').close(); time.sleep(30)")
    desk.write(
        "p.toml",
        "[sources.kapso]\n"
        f'api_key = {{ command = ["{sys.executable}", "slow.py"] }}\n'
        "[sinks.stdout]\n",
    )
    process = desk.start("run", "p.toml")
    until((desk.folder / "slow").exists)

    process.send_signal(signal.SIGINT)

    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.strip()) == (130, "", "")
