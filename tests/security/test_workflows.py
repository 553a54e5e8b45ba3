"""What the workflows promise in SECURITY.md."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="a source package has no workflows")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_and_says_which_version_that_is(workflow: Path) -> None:
    used = re.findall(r"uses: (.*)", workflow.read_text())

    assert used
    assert [
        each for each in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)
    ] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_no_workflow_has_rights_that_a_job_did_not_ask_for(workflow: Path) -> None:
    text = workflow.read_text()

    assert "\npermissions: {}\n" in text
    assert "secrets." not in text
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


def test_only_the_job_that_publishes_may_sign_in_to_pypi() -> None:
    text = (FOLDER / "release.yml").read_text()
    jobs = dict(re.findall(r"(?ms)^  (\w+):\n    name: (.*?)(?=^  \w+:\n|\Z)", text))

    assert {name for name, job in jobs.items() if "id-token: write" in job} == {"pypi"}
    assert "attestations: true" in jobs["pypi"]
    assert "run: .ci/run" in jobs["build"]
    assert "sbom.cdx.json" in jobs["github"]
