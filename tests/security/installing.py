"""Installs a plugin of these tests, as pip leaves it behind."""

from pathlib import Path
from types import ModuleType


def install(plugin: ModuleType, folder: Path) -> None:
    """Put *plugin*, a module of these tests, into *folder* as a distribution for a PYTHONPATH."""
    source = Path(str(plugin.__file__))
    name = source.stem
    dist = folder / f"levada_{name}-1.dist-info"
    dist.mkdir(parents=True)
    (dist / "METADATA").write_text(f"Metadata-Version: 2.1\nName: levada-{name}\nVersion: 1\n")
    (dist / "entry_points.txt").write_text(f"[levada]\n{name} = levada_{name}\n")
    (folder / f"levada_{name}.py").write_text(source.read_text())
