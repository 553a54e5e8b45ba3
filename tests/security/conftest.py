from pathlib import Path

import pytest

from integration.test_cli_process import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)
