"""A plugin that does not load: one error that names it, and only where a pipeline uses it."""

from textwrap import indent

import pytest

from plugin_faults.site import ALL, Site

BROKEN = {
    "import error": ("import gone", "ModuleNotFoundError: No module named 'gone'"),
    "exit": ("raise SystemExit(0)", "SystemExit: 0"),
    "hard error": ("raise GeneratorExit", "GeneratorExit"),
    "interrupted from inside": ("import asyncio; raise asyncio.CancelledError", "CancelledError"),
}


@pytest.mark.parametrize(("top", "blame"), BROKEN.values(), ids=BROKEN)
def test_a_plugin_that_does_not_load_is_named_before_any_request(
    site: Site, top: str, blame: str
) -> None:
    site.source("bad", top=top)
    site.pipeline("[sources.numbers]\n[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 3
    assert f"plugin 'bad' (levada-bad 1.0) did not load: {blame}" in done.stderr
    assert "levada_bad.py:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (site.desk.folder / "out.jsonl").exists()


@pytest.mark.parametrize("where", ["import", "__attrs_post_init__", "identity"])
def test_one_that_raises_what_ctrl_c_does_is_named(site: Site, where: str) -> None:
    body = "" if where == "import" else f"def {where}(self): raise KeyboardInterrupt"
    site.source("bad", body, top="" if body else "raise KeyboardInterrupt")
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    for command in ("check", "run"):
        done = site.desk.run(command, "p.toml")

        assert done.returncode == 3
        assert "plugin 'bad' (levada-bad 1.0) raised KeyboardInterrupt, though" in done.stderr
        assert "Traceback" not in done.stderr


def test_ctrl_c_in_an_import_is_no_fault_of_the_plugin(site: Site) -> None:
    site.source("bad", top="import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 130
    assert "bad" not in done.stderr


def test_a_plugin_that_does_not_load_is_nothing_to_a_pipeline_without_it(site: Site) -> None:
    site.source("bad", top="raise SystemExit(0)")
    site.pipeline("[sources.numbers]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert (done.returncode, done.stdout) == (0, "")
    assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)


@pytest.mark.faults
def test_an_import_that_hangs_is_given_up_after_ten_seconds(site: Site) -> None:
    site.source("bad", top="import time; time.sleep(60)")
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 3
    assert "plugin 'bad' (levada-bad 1.0) did not load: Overdue: took longer than 10 s" in (
        done.stderr
    )


SWALLOWING = """
while True:
    try: time.sleep(1)
    except BaseException: pass
"""


@pytest.mark.faults
@pytest.mark.parametrize("where", ["import", pytest.param("identity", marks=pytest.mark.nightly)])
def test_one_that_swallows_every_exception_ends_the_process_and_is_named(
    site: Site, where: str
) -> None:
    inside = f"def identity(self):\n{indent(SWALLOWING, '    ')}" if where == "identity" else ""
    site.source("bad", inside, top="" if inside else f"import time\n{SWALLOWING}")
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    blame = "took longer than 10 s and swallows every exception"
    assert done.stderr == f"levada: plugin 'bad' (levada-bad 1.0) {blame}\n"
    assert (done.returncode, done.stdout) == (3, "")


@pytest.mark.faults
@pytest.mark.parametrize(
    ("command", "body", "blame"),
    [
        ("run", "def identity(self): time.sleep(60)", "took longer than 10 s to return from"),
        ("status", "def __attrs_post_init__(self): time.sleep(60)", "took longer than 10 s over"),
    ],
)
def test_one_that_hangs_before_anything_begins_is_given_up_too(
    site: Site, body: str, blame: str, command: str
) -> None:
    site.source("bad", body)
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run(command, "p.toml")

    assert done.returncode == 3
    assert "plugin 'bad'" in done.stderr
    assert blame in done.stderr


def test_a_built_in_cannot_be_shadowed(site: Site) -> None:
    site.install("file", "raise AssertionError('imported')", distribution="evil")
    site.pipeline("[sources.numbers]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 3
    assert "plugin 'file' is offered by evil 1.0 and levada 0." in done.stderr
    assert not (site.desk.folder / "out.jsonl").exists()
