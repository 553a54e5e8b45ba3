"""Classes that are odd: an error that names the plugin, and only where a pipeline uses it."""

import pytest

from plugin_faults.site import Site

TABLES = "[sources.numbers]\n[sinks.bad]\n[sinks.file]\npath = 'out.jsonl'\n"
BAD = "levada: plugin 'bad' (levada-bad 1.0)"


@pytest.mark.parametrize(
    ("body", "blame"),
    [
        ("def __attrs_post_init__(self): raise KeyError", "broke on its own options: KeyError"),
        ("x: object = field()", "declares option 'x' with a type no file can hold"),
    ],
)
def test_who_is_wrong_about_its_own_options_is_named_with_its_distribution(
    site: Site, body: str, blame: str
) -> None:
    site.sink("bad", body)
    site.pipeline(TABLES)

    done = site.desk.run("run", "p.toml")

    assert (done.returncode, done.stderr) == (3, f"{BAD} {blame}\n")
