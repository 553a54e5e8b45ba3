"""Quirks by name."""

from datetime import timedelta

import attrs
import pytest

from levada.sandbox import KapsoQuirks, StevoraQuirks
from levada.sandbox.switches import read_quirks, switches


def test_every_quirk_has_a_switch_with_a_sentence() -> None:
    names = [
        f"{vendor}.{field.name}"
        for vendor, cls in (("kapso", KapsoQuirks), ("stevora", StevoraQuirks))
        for field in attrs.fields(cls)
    ]

    assert [switch.name for switch in switches()] == names
    assert [switch.name for switch in switches() if not switch.help.endswith(".")] == []


def test_nothing_is_on_unless_told() -> None:
    assert read_quirks([]) == (KapsoQuirks(), StevoraQuirks())


def test_quirks_are_read_by_name() -> None:
    kapso, stevora = read_quirks(
        [
            "kapso.timestamp_cursors",
            "kapso.skew=10m",
            "stevora.skew=-90s",
            "kapso.page_cap=20",
            "kapso.page_cap=30",
            "stevora.order=oldest",
        ]
    )

    assert kapso == KapsoQuirks(timestamp_cursors=True, skew=timedelta(minutes=10), page_cap=30)
    assert stevora == StevoraQuirks(skew=timedelta(seconds=-90), order="oldest")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("kapso.timestamp_cursor", "did you mean kapso.timestamp_cursors"),
        ("timestamp_cursors", "did you mean kapso.timestamp_cursors"),
        (
            "zzz",
            "there is no quirk 'zzz'; there are kapso.skew, kapso.times, .*, stevora.bare_runs",
        ),
        ("kapso.skew", "quirk kapso.skew: write kapso.skew=DURATION"),
        ("kapso.skew=ten", "write kapso.skew=DURATION"),
        ("kapso.page_cap=-1", "write kapso.page_cap=N"),
        ("kapso.page_cap", "write kapso.page_cap=N"),
        ("stevora.order=random", "write stevora.order=newest|oldest|hash"),
        ("stevora.order", "write stevora.order=newest|oldest|hash"),
        ("kapso.no_detail=yes", "quirk kapso.no_detail: it takes no value"),
    ],
)
def test_a_wrong_name_or_value_is_refused_with_help(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=error.replace("|", r"\|")):
        read_quirks([text])
