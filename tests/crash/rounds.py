"""How often a test kills: a few times in every run, more often in others."""

import pytest

each_nth = pytest.mark.parametrize(
    "nths",
    [
        pytest.param((1, 3), id="few"),
        pytest.param((1, 2, 4), id="more", marks=pytest.mark.faults),
        pytest.param(
            range(1, 25), id="many", marks=[pytest.mark.nightly, pytest.mark.timeout(600)]
        ),
    ],
)
"""The calls to kill at. Each process is another one, so the *k*-th is counted from its start."""

each_number = pytest.mark.parametrize(
    "kills",
    [
        pytest.param(3, id="few"),
        pytest.param(6, id="more", marks=[pytest.mark.faults, pytest.mark.timeout(180)]),
        pytest.param(60, id="many", marks=[pytest.mark.nightly, pytest.mark.timeout(600)]),
    ],
)
"""How many processes to kill."""
