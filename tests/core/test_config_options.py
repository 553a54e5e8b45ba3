from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, NewType

import pytest
from attrs import Factory, define, field, validators

from levada import ConfigError, PluginError, option
from levada.config import build
from levada.config.options import options_of, summary
from levada.config.words import expected, toml

RunId = NewType("RunId", str)


def _own(self: Written) -> list[int]:
    return [self.size or 0]


def _doubled(given: int) -> int:
    return given * 2


@define(kw_only=True)
class Written:
    """Under `from __future__ import annotations` these are strings.

    More.
    """

    runs: Sequence[RunId] = option(default=(), help="")
    size: Annotated[int, "bytes"] | None = option(
        default=None, help="", validator=validators.optional(validators.gt(0))
    )
    nested: Mapping[str, list[int]] = option(default={}, help="")
    own: list[int] = field(default=Factory(_own, takes_self=True))
    many: int = field(default=1, converter=_doubled, validator=validators.le(10))
    _secretive: bool = False
    state: object = field(init=False, default=None)


def test_options_are_the_fields_of_the_constructor() -> None:
    assert list(options_of(Written)) == ["runs", "size", "nested", "own", "many", "secretive"]


def test_annotations_may_be_strings_aliases_and_annotated() -> None:
    built = build(Written, {"runs": ["a"], "size": 3, "nested": {"a": [1]}, "secretive": True})

    assert built == Written(runs=("a",), size=3, nested={"a": [1]}, secretive=True)  # type: ignore[arg-type]  # a str is a RunId in the file
    assert built.own == [3]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"nested": {"a": [1, "b"]}}, "nested.a[1]: expected an integer, got a string"),
        ({"size": 0}, "size: must be more than 0"),
        ({"many": 6}, "many: must be at most 10"),
        ({"runs": [1]}, "runs[0]: expected a string, got an integer"),
    ],
)
def test_faults_are_found_where_they_are(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Written, table)

    assert str(caught.value) == message


def test_a_string_that_names_no_type_is_the_plugins_fault() -> None:
    with pytest.raises(PluginError, match="'lost' declares option 'path' with a type"):
        options_of(Lost)


def test_defaults_that_need_the_object_are_not_shown() -> None:
    assert options_of(Written)["own"].default is None
    assert options_of(Written)["nested"].default == {}


def test_a_summary_is_the_first_paragraph_on_one_line() -> None:
    assert summary(Written) == "Under `from __future__ import annotations` these are strings."
    assert summary(RunIdLess) == ""


class RunIdLess:
    pass


@define(kw_only=True)
class Lost:
    name: ClassVar[str] = "lost"

    path: Elsewhere = None  # type: ignore[name-defined]  # noqa: F821  # as if imported under TYPE_CHECKING alone


@pytest.mark.parametrize(
    ("tp", "words"),
    [
        (dict[str, int], "a table of integers"),
        (list[dict[str, int]], "a list of tables"),
        (list[Path], "a list of paths"),
        (int | timedelta, 'an integer or a duration such as "10s"'),
        (object, "a value"),
    ],
)
def test_types_have_words(tp: object, words: str) -> None:
    assert expected(tp) == words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        ("a\nb", '"a\\nb"'),
        (Path("x"), '"x"'),
        ((timedelta(seconds=90), 1.5), '["90s", 1.5]'),
        ({"a b": 1, "c": {}}, '{ "a b" = 1, c = {} }'),
    ],
)
def test_values_are_shown_as_toml(value: object, text: str) -> None:
    assert toml(value) == text
