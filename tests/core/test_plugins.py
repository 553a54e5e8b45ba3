"""Plugins are real here: installed distributions with metadata and modules, on sys.path."""

import importlib
import signal
import sys
import threading
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest
from attrs import frozen

from levada import ConfigError, PluginError, Sink, Source
from levada.plugins import DISABLE, Offer, Registry

ROOT = Path(__file__).parents[2]

SOURCE = """
from attrs import define
from levada import Source, hookimpl

@define
class Fake(Source):
    name = "NAME"

    async def read(self, partition, position, ctx):
        yield

@hookimpl
def event_sources():
    return [Fake]
"""

SINK = """
from attrs import define
from levada import Sink, hookimpl

@define
class FakeSink(Sink):
    name = "NAME"

    async def write(self, delivery, ctx):
        return None

@hookimpl
def event_sinks():
    return [FakeSink]
"""


@frozen
class Site:
    """A folder of installed distributions, as pip leaves one behind."""

    folder: Path

    def install(
        self, connector: str, code: str, *, distribution: str = "", version: str = "1.0"
    ) -> None:
        """Install a package whose one module offers *connector*."""
        distribution = distribution or f"levada-{connector}"
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(dedent(code).replace("NAME", connector))
        self.describe(distribution, f"[levada]\n{connector} = {module}\n", version=version)

    def describe(self, distribution: str, entry_points: str, *, version: str = "1.0") -> None:
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entry_points)
        importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(DISABLE, raising=False)
    before = set(sys.modules)
    yield Site(tmp_path)
    for module in set(sys.modules) - before:
        if getattr(sys.modules[module], "__file__", None) == str(tmp_path / f"{module}.py"):
            del sys.modules[module]


def reason(connector: str) -> str:
    """Return why *connector*, in distribution levada-<connector> 1.0, cannot be used."""
    with pytest.raises(PluginError) as caught:
        Registry(import_timeout=timedelta(seconds=0.2)).source(connector)
    assert (caught.value.plugin, caught.value.version) == (connector, "1.0")
    assert caught.value.distribution == f"levada-{connector}"
    return caught.value.reason


def offer(name: str) -> Offer:
    return next(offer for offer in Registry().offers() if offer.name == name)


class TestFinding:
    def test_lists_names_without_importing_a_plugin(self, site: Site) -> None:
        site.install("good", "raise AssertionError('imported')")

        names = Registry().names()

        assert "good" in names
        assert names == sorted(names)

    def test_finds_the_built_in_connectors_like_any_other(self, site: Site) -> None:
        assert {"file", "kapso", "stdout", "stevora", "webhook"} <= set(Registry().names())

    def test_every_folder_of_plugins_has_an_entry_point(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        folders = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}

        assert set(project["entry-points"]["levada"].values()) == folders

    def test_a_damaged_package_hides_no_other(self, site: Site) -> None:
        site.install("good", SOURCE)
        site.describe("damaged", "[levada]\nnot an entry point\n")
        (site.folder / "nameless-1.0.dist-info").mkdir()
        (site.folder / "nameless-1.0.dist-info" / "entry_points.txt").write_text(
            "[levada]\na = a\n"
        )

        assert Registry().source("good").name == "good"

    def test_counts_a_second_copy_of_a_distribution_once(self, site: Site) -> None:
        site.install("good", SOURCE, version="2.0")
        site.install("good", SOURCE, version="1.0", distribution="Levada.good")

        assert [each.name for each in Registry().offers()].count("good") == 1


class TestLoading:
    def test_returns_the_class_named_as_the_entry_point(self, site: Site) -> None:
        site.install("good", SOURCE)

        found = Registry().source("good")

        assert issubclass(found, Source)
        assert found.name == "good"

    def test_imports_a_plugin_once(self, site: Site) -> None:
        site.install("good", SOURCE)
        registry = Registry()

        assert registry.source("good") is registry.source("good")

    def test_loads_in_a_thread_too(self, site: Site) -> None:
        site.install("good", SOURCE)
        found: list[type[Source]] = []

        thread = threading.Thread(target=lambda: found.append(Registry().source("good")))
        thread.start()
        thread.join()

        assert found[0].name == "good"

    def test_one_name_can_be_a_source_and_a_sink(self, site: Site) -> None:
        site.install("both", SOURCE + SINK)
        registry = Registry()

        assert issubclass(registry.source("both"), Source)
        assert issubclass(registry.sink("both"), Sink)
        assert offer("both").roles == ["source", "sink"]

    def test_one_module_can_stand_behind_several_entry_points(self, site: Site) -> None:
        code = SOURCE.replace("NAME", "one") + SINK.replace("NAME", "two")
        (site.folder / "several.py").write_text(code)
        site.describe("several", "[levada]\none = several\ntwo = several\n")

        assert Registry().source("one").name == "one"
        assert Registry().sink("two").name == "two"

    def test_none_from_a_hook_offers_nothing_in_that_role(self, site: Site) -> None:
        site.install("good", SOURCE + "\n@hookimpl\ndef event_sinks():\n    return None\n")

        assert offer("good").roles == ["source"]

    def test_what_a_plugin_prints_goes_to_stderr(
        self, site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        site.install("noisy", "print('hello')\n" + SOURCE)

        Registry().source("noisy")

        assert capsys.readouterr() == ("", "hello\n")

    def test_leaves_another_alarm_running(self, site: Site) -> None:
        site.install("good", SOURCE)
        previous = signal.setitimer(signal.ITIMER_REAL, 50)
        handler = signal.getsignal(signal.SIGALRM)

        try:
            Registry().source("good")

            assert 40 < signal.getitimer(signal.ITIMER_REAL)[0] <= 50
            assert signal.getsignal(signal.SIGALRM) is handler
        finally:
            signal.setitimer(signal.ITIMER_REAL, *previous)

    def test_the_keyboard_still_interrupts(self, site: Site) -> None:
        site.install("slow", "import signal; signal.raise_signal(signal.SIGINT)")

        with pytest.raises(KeyboardInterrupt):
            Registry().source("slow")


RAISED = {
    "import": ("\nimport gone", "ModuleNotFoundError: No module named 'gone' (HERE:2)"),
    "exit": ("raise SystemExit(3)", "SystemExit: 3 (HERE:1)"),
    "syntax": ("def (:", "SyntaxError: invalid syntax (levada_bad.py, line 1)"),
    "long message": ("raise ValueError('first\\n  last\\n')", "ValueError: last (HERE:1)"),
    "hang": (
        "import time\ntry:\n    time.sleep(30)\nexcept Exception:\n    pass\n",
        "Overdue: took longer than 0.2 s (HERE:3)",
    ),
    "hook": (SOURCE.replace("return [Fake]", "raise OSError('disk')"), "OSError: disk (HERE:14)"),
}

BREACHES = {
    "misspelt hook": ("event_sources", "event_source", "; did you mean 'event_sources'?"),
    "unknown argument": ("sources()", "sources(config)", "wrongly: Plugin 'bad' for hook 'event_s"),
    "not iterable": ("[Fake]", "7", "sources: got a value of type int, expected an iterable of So"),
    "class alone": ("[Fake]", "Fake", "event_sources: got Fake, expected an iterable of Source"),
    "instance": ("[Fake]", "[Fake()]", "got a value of type Fake, expected a subclass of levada.S"),
    "other base": ("(Source)", "", "event_sources: got Fake, expected a subclass of levada.Source"),
    "name mismatch": ('"NAME"', '"other"', "offers 'other'; let a hook return a class whose name"),
    "no hook": ("@hookimpl", "", "offers nothing; let a hook return a class whose name is 'bad'"),
    "no name": ('name = "NAME"', "pass", 'offers Fake, which has no name; add: name = "..."'),
    "name as an option": ("name =", "name: str =", "offers Fake, which has no name"),
    "twice": ("[Fake]", "[Fake, Fake]", "offers 'bad' twice"),
    "no decorator": ("@define", "", "offers Fake, which lacks its decorator; add: @attrs.define"),
    "host key": ('"NAME"', '"NAME"; account: str = ""', "declares option 'account', which is the"),
    "no read": ("def read", "def reed", "offers Fake, which does not define read()"),
}


class TestBrokenPlugins:
    @pytest.mark.parametrize(("code", "expected"), RAISED.values(), ids=RAISED)
    def test_what_it_raises_becomes_an_error_with_its_place(
        self, site: Site, code: str, expected: str
    ) -> None:
        site.install("bad", code)

        place = str(site.folder / "levada_bad.py")
        assert reason("bad") == "did not load: " + expected.replace("HERE", place)

    @pytest.mark.parametrize(("old", "new", "expected"), BREACHES.values(), ids=BREACHES)
    def test_a_breach_of_the_contract_is_named(
        self, site: Site, old: str, new: str, expected: str
    ) -> None:
        site.install("bad", SOURCE.replace(old, new))

        assert expected in reason("bad")

    def test_a_sink_without_write_is_refused(self, site: Site) -> None:
        site.install("bad", SINK.replace("def write", "def wrote"))

        assert offer("bad").error == "offers FakeSink, which does not define write()"

    def test_stays_failed_without_a_second_import(self, site: Site) -> None:
        site.install("bad", "raise ValueError")
        registry = Registry()

        with pytest.raises(PluginError) as first:
            registry.source("bad")
        site.folder.joinpath("levada_bad.py").write_text(SOURCE.replace("NAME", "bad"))

        with pytest.raises(PluginError) as second:
            registry.source("bad")
        assert first.value is second.value

    def test_disturbs_no_other(self, site: Site) -> None:
        site.install("bad", "raise SystemExit")
        site.install("good", SOURCE)

        offers = {offer.name: offer for offer in Registry().offers()}

        assert offers["good"] == Offer("good", ["source"], "levada-good", "1.0")
        assert offers["bad"].roles == ()
        assert offers["bad"].error is not None


class TestApiVersion:
    @pytest.mark.parametrize("version", ["2", "0", "'1.1'", "None"])
    def test_another_one_is_refused_with_both(self, site: Site, version: str) -> None:
        site.install("new", SOURCE.replace("name = ", f"api_version = {version}\n    name = "))

        assert reason("new").startswith(
            f"is written for version {version} of the plugin API, and this Levada has version 1;"
        )

    def test_the_same_one_is_taken(self, site: Site) -> None:
        site.install("same", SOURCE.replace("name = ", "api_version = 1\n    name = "))

        assert Registry().source("same").name == "same"


class TestOneNameTwice:
    def test_is_refused_with_both_distributions(self, site: Site) -> None:
        site.install("queue", SOURCE, distribution="acme-queue", version="1.2")
        site.install("queue", SOURCE, distribution="umbrella", version="3.0")

        with pytest.raises(PluginError, match=r"offered by acme-queue 1\.2 and umbrella 3\.0;"):
            Registry().source("queue")

    def test_a_built_in_cannot_be_shadowed(self, site: Site) -> None:
        site.install("stdout", SINK, distribution="evil", version="6.6")

        with pytest.raises(PluginError, match=r"offered by evil 6\.6 and levada \d"):
            Registry().sink("stdout")

    def test_does_no_harm_until_it_is_used(self, site: Site) -> None:
        site.install("queue", SOURCE, distribution="acme-queue")
        site.install("queue", SOURCE, distribution="umbrella")
        site.install("good", SOURCE)

        assert Registry().source("good").name == "good"
        errors = [each.error for each in Registry().offers() if each.name == "queue"]
        assert len(errors) == 2
        assert errors[0] == errors[1]

    @pytest.mark.parametrize("name", ["umbrella:queue", "Umbrella:queue"])
    def test_one_can_be_meant_by_its_distribution(self, site: Site, name: str) -> None:
        site.install("queue", SOURCE, distribution="acme-queue")
        site.install("queue", SOURCE, distribution="umbrella")

        assert Registry().source(name).__module__ == "umbrella"

    def test_a_built_in_one_can_be_meant_too(self, site: Site) -> None:
        site.install("stdout", SINK, distribution="evil")

        assert Registry().sink("levada:stdout").__module__ == "levada_stdout.sink"

    def test_a_distribution_that_does_not_offer_it_is_an_unknown_name(self, site: Site) -> None:
        site.install("queue", SOURCE, distribution="acme-queue")

        with pytest.raises(ConfigError, match="no connector is named 'levada:queue'"):
            Registry().source("levada:queue")

    def test_disabling_one_of_the_distributions_is_a_way_out(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.install("queue", SOURCE, distribution="acme-queue")
        site.install("queue", SOURCE, distribution="umbrella")
        monkeypatch.setenv(DISABLE, "acme_queue")

        assert Registry().source("queue").__module__ == "umbrella"


class TestDisabled:
    @pytest.mark.parametrize("value", ["bad", "other, bad", "levada-bad", "*"])
    def test_a_disabled_plugin_is_not_imported(
        self, site: Site, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        site.install("bad", "raise SystemExit")
        monkeypatch.setenv(DISABLE, value)

        assert "bad" not in Registry().names()
        assert offer("bad").error == "is disabled by LEVADA_DISABLE_PLUGINS"
        with pytest.raises(ConfigError, match="'bad' is disabled by LEVADA_DISABLE_PLUGINS"):
            Registry().source("bad")

    def test_a_star_keeps_the_built_in_ones(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(DISABLE, "*")

        assert "stdout" in Registry().names()


class TestNotFound:
    def test_suggests_the_nearest_name_and_lists_the_others(self, site: Site) -> None:
        with pytest.raises(ConfigError) as caught:
            Registry().source("Kapos")

        assert "no connector is named 'Kapos'; did you mean 'kapso'?" in str(caught.value)
        assert f"(installed: {', '.join(Registry().names())})" in str(caught.value)

    def test_says_what_might_be_missing(self, site: Site) -> None:
        site.install("bad", "raise SystemExit")
        registry = Registry()
        registry.offers()

        with pytest.raises(ConfigError) as caught:
            registry.sink("pulsar")

        assert "failed to load: bad" in str(caught.value)
        assert "pip install levada-pulsar" in str(caught.value)

    def test_a_sink_is_no_source(self, site: Site) -> None:
        site.install("good", SINK)

        with pytest.raises(ConfigError, match="'good' is a sink, not a source"):
            Registry().source("good")

    def test_a_source_is_no_sink(self, site: Site) -> None:
        site.install("good", SOURCE)

        with pytest.raises(ConfigError, match="'good' is a source, not a sink"):
            Registry().sink("good")
