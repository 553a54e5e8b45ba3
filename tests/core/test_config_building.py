import time
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import define

from core.test_config_samples import Basin, Spring
from levada import ConfigError, PluginError, Secret
from levada.config import assignments, build
from levada.config.references import FORMS

CANARY = "cnry_0123456789"
KNOWN = "depth, key, linger, loud, rate_limit, rate_share, runs, share, since, url, window"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPRING_KEY", CANARY)


def test_builds_a_connector_from_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    basin = build(Basin, {"path": "out", "steps": ["1m"], "token": {"env": "SPRING_KEY"}})

    assert basin == Basin(path=tmp_path / "out", steps=[timedelta(minutes=1)], token=Secret(CANARY))


def test_relative_paths_start_from_the_base(tmp_path: Path) -> None:
    assert build(Basin, {"path": "out"}, base=tmp_path).path == tmp_path / "out"


def test_the_same_rules_and_words_hold_as_in_a_file() -> None:
    with pytest.raises(ConfigError) as caught:
        build(Spring, {"dept": 1, "depth": 0, "key": CANARY, "use": "spring"}, path="--set")

    assert str(caught.value).splitlines() == [
        '--set.dept: unknown key; did you mean "depth"?',
        f"--set.use: unknown key; known here: {KNOWN}",
        f"--set.key: a secret must not stand in the file; refer to it: {FORMS}",
        "--set.depth: must be at least 1",
    ]


def test_problems_of_the_whole_stand_at_the_path() -> None:
    with pytest.raises(ConfigError, match=r"^sinks.basin: low is above limit$"):
        build(Basin, {"path": "x", "low": 11}, path="sinks.basin")


def test_none_is_a_value_where_the_option_allows_it() -> None:
    assert build(Basin, {"path": "x", "compress": None}).compress is None
    with pytest.raises(ConfigError, match="title: expected a string, got nothing"):
        build(Basin, {"path": "x", "title": None})


def test_a_plugin_that_cannot_be_configured_is_named() -> None:
    from core.test_config_samples import Odd

    with pytest.raises(PluginError, match="plugin 'odd' declares option 'number'"):
        build(Odd, {})


@pytest.mark.parametrize(
    ("words", "table"),
    [
        ([], {}),
        (["depth=7"], {"depth": 7}),
        (["loud=true"], {"loud": True}),
        (["share=0.25"], {"share": 0.25}),
        (["window=5m"], {"window": "5m"}),
        (['window="5m"'], {"window": "5m"}),
        (["url=https://x.test/?a=b#c"], {"url": "https://x.test/?a=b#c"}),
        (["url=12"], {"url": "12"}),
        (["url="], {"url": ""}),
        (["url=x\ny = 1"], {"url": "x\ny = 1"}),
        (["runs=12"], {"runs": ["12"]}),
        (["runs=abc"], {"runs": ["abc"]}),
        (['runs=["a", "b"]'], {"runs": ["a", "b"]}),
        (["key={ env = 'K' }"], {"key": {"env": "K"}}),
        (["key.env=K"], {"key": {"env": "K"}}),
        (["depth=deep"], {"depth": "deep"}),
        (["nonsense=1"], {"nonsense": 1}),
        (["depth=1", "loud=false"], {"depth": 1, "loud": False}),
    ],
)
def test_words_become_the_values_their_options_want(
    words: list[str], table: dict[str, object]
) -> None:
    assert assignments(Spring, words) == table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([CANARY], 'an assignment has no "="; write option=value'),
        (["depth=1", "depth=2"], "option depth is set twice"),
        (["depth=1", "depth=1"], "option depth is set twice"),
        (["key.env=K", "key.env=L"], "option key.env is set twice"),
        (["depth=1", "depth.a=2"], "option depth.a is set twice"),
    ],
)
def test_words_that_cannot_be_assignments_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        assignments(Spring, words)

    assert str(caught.value) == message


def test_one_that_hangs_over_its_options_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    @define
    class Slow:
        name = "slow"

        def __attrs_post_init__(self) -> None:
            time.sleep(60)

    monkeypatch.setattr("levada.config.filling.LIMIT_S", 0.1)

    with pytest.raises(PluginError, match=r"'slow' took longer than 0\.1 s over its own options"):
        build(Slow, {})
