import re

from levada_kapso.kinds import KINDS

SHAPE = re.compile(r"[a-z]+(\.[a-z_]+)+")


def test_a_kind_is_entity_dot_state() -> None:
    assert [kind for kind in KINDS.values() if not SHAPE.fullmatch(kind)] == []


def test_every_documented_type_has_a_kind() -> None:
    documented = (
        "execution_started execution_ended execution_failed step_entered step_completed "
        "step_failed decision_evaluating decision_evaluated action_preparing action_executing "
        "action_performed action_failed variables_set variables_merged wait_timeout "
        "user_input_received agent_iteration_started agent_tool_called agent_message_sent "
        "ai_field_resolving ai_field_resolved"
    )

    assert set(KINDS) == set(documented.split())
