import pytest
from attrs import evolve

from core.doubles import event
from levada import Event, Origin
from levada.selection import Selection

ORIGIN = Origin("kapso", "acme", "https://api.kapso.ai/executions/run-1")
STEP = evolve(event(1), origin=ORIGIN)
CALL = evolve(event(2, name="LLM_CALL", kind="llm.completed"), origin=ORIGIN)
UNKNOWN = evolve(event(3, name="brand_new", kind=None), origin=ORIGIN)


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(), [STEP, CALL, UNKNOWN]),
        (Selection(["step.completed"]), [STEP]),
        (Selection(["step.*", "llm.*"]), [STEP, CALL]),
        (Selection(["step_completed"]), [STEP]),
        (Selection(["kapso.*"]), [STEP, CALL, UNKNOWN]),
        (Selection(["kapso.LLM_?ALL"]), [CALL]),
        (Selection(["llm_call"]), []),
        (Selection([], excluded=["step.*"]), [CALL, UNKNOWN]),
        (Selection(["kapso.*"], excluded=["*.LLM*"]), [STEP, UNKNOWN]),
        (Selection(["nothing"]), []),
    ],
    ids=[
        "all",
        "kind",
        "two globs",
        "type",
        "CloudEvents type",
        "one character",
        "case",
        "all but",
        "except wins",
        "none",
    ],
)
def test_a_selection_wants(selection: Selection, wanted: list[Event]) -> None:
    assert [each for each in (STEP, CALL, UNKNOWN) if selection.wants(each)] == wanted


def test_an_answer_stays_the_same() -> None:
    selection = Selection(["step.*"])

    assert [selection.wants(STEP) for _ in range(3)] == [True, True, True]
    assert selection == Selection(["step.*"])
