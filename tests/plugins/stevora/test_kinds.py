import re

from levada_stevora.kinds import KINDS

SHAPE = re.compile(r"[a-z]+(\.[a-z_]+)+")


def test_a_kind_is_entity_dot_state() -> None:
    assert [kind for kind in KINDS.values() if not SHAPE.fullmatch(kind)] == []


def test_every_documented_type_has_a_kind() -> None:
    documented = (
        "WORKFLOW_STARTED WORKFLOW_COMPLETED WORKFLOW_FAILED WORKFLOW_CANCELLED STEP_STARTED "
        "STEP_COMPLETED STEP_FAILED STEP_RETRYING LLM_CALL_STARTED LLM_CALL_COMPLETED "
        "LLM_CALL_FAILED LLM_FALLBACK_TRIGGERED GUARDRAIL_TRIGGERED TOOL_CALL_EXECUTED "
        "APPROVAL_REQUESTED APPROVAL_DECIDED SIGNAL_RECEIVED WORKFLOW_PAUSED"
    )

    assert set(KINDS) == set(documented.split())
