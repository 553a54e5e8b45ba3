import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo what a command that runs in this process sets up."""
    root, ours = logging.getLogger(), logging.getLogger("levada")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)  # unlike an assignment, this forgets what loggers remember of levels
    ours.setLevel(our_level)
    logging.captureWarnings(capture=False)
