"""How the documentation is built: ``nox -s docs``."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import generated

generated.main()

project = "Levada"
author = "the Levada authors"
copyright = "2026, the Levada authors"  # noqa: A001  # Sphinx's own name for it
version = release = version_of("levada")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_ext", "examples"]
html_theme = "furo"
html_title = "Levada"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"Json": "levada.Json"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
default_role = "code"  # docstrings write `name` as Markdown does
add_module_names = False
python_use_unqualified_type_names = True
nitpick_ignore = [("py:class", "levada.page.S")]  # a type variable
nitpick_ignore_regex = [
    ("py:.*", r"(?!levada\.).*"),  # others' names are not looked up
    ("py:class", r"levada\.sandbox\..*"),  # its worlds are many small classes; the code shows them
]
