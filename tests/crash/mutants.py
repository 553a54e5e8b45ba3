"""Copies of the packages with one step of a protocol taken out."""

import importlib.util
import shutil
from pathlib import Path
from typing import Final

from attrs import frozen

PACKAGES: Final = ("levada", "levada_file", "levada_stdout", "levada_webhook")


@frozen
class Mutant:
    """One change of the source: *old*, which has to be there once, becomes *new*."""

    file: str
    old: str
    new: str = ""

    def build(self, folder: Path) -> Path:
        """Copy the packages into *folder* and change them there."""
        for name in PACKAGES:
            found = importlib.util.find_spec(name)
            assert found
            assert found.origin
            shutil.copytree(Path(found.origin).parent, folder / name)
        path = folder / self.file
        source = path.read_text()
        assert source.count(self.old) == 1, f"{self.file} has changed: renew this mutant"
        path.write_text(source.replace(self.old, self.new))
        return folder
