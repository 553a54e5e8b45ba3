"""A journal to open."""

from pathlib import Path

import pytest

from core.doubles import settings
from core.journal.states import fill
from levada.journal import Journal


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Return a journal that was closed."""
    async with Journal(settings(tmp_path)) as journal:
        await fill(journal)
    return tmp_path / "state" / "state.db"
