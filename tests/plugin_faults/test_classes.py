"""Classes that are odd: an error that names the plugin, and only where a pipeline uses it."""

import json

import pytest

from plugin_faults.site import ALL, Site

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


ODD = {
    "a method that cannot be had": (
        "write = Raising()",
        "did not load: Boom",
    ),
    "a class that lets nobody look at it": (
        "lanes = 1",
        "did not load: Boom",
    ),
    "a docstring that is no string": ("__doc__ = 5", None),
    "a default that raises": (
        "x: int = field(factory=boom, kw_only=True)",
        "broke on its own options: Boom",
    ),
    "a default that no file can hold": ("x: int = field(default=object(), kw_only=True)", None),
    "a guarantee that is no text": ("guarantee = object()", None),
    "metadata of another type": (
        "x: Secret | None = field(default=None, kw_only=True, metadata={'help': 5, 'env': 7})",
        "declares option 'x' with an `env` that is no string",
    ),
    "an object of another class": (
        "def __new__(cls, *_, **__): return 5",
        "made int of its own options instead of itself",
    ),
    "attributes that raise": (
        "def __getattribute__(self, name): raise Boom",
        "",
    ),
    "a name that raises": (
        """
        def __getattribute__(self, name):
            if name == "name": raise Boom
            return super(Sink, self).__getattribute__(name)
        """,
        "raised Boom from name",
    ),
}
TOP = """
from levada import Secret

class Boom(Exception): pass

class Raising:
    def __get__(self, *_): raise Boom

class Meta(type):
    def __getattribute__(cls, name):
        if name == "write": raise Boom
        return super().__getattribute__(name)

def boom(): raise Boom
"""
TRUTH = "def __bool__(self): raise Boom\ndef __eq__(self, _): raise Boom"


def install(site: Site, name: str) -> str | None:
    """Install an odd sink; return what a pipeline that uses it is told, if anything."""
    body, blame = ODD[name]
    site.sink("bad", body, top=TOP)
    if "lets nobody" in name:
        module = site.folder / "levada_bad.py"
        module.write_text(module.read_text().replace("Bad(Sink)", "Bad(Sink, metaclass=Meta)"))
    return blame


@pytest.mark.parametrize("name", ODD)
def test_an_odd_class_is_named_where_a_pipeline_uses_it(site: Site, name: str) -> None:
    blame = install(site, name)
    site.pipeline(TABLES)

    for command in ("status", "check", "run"):
        done = site.desk.run(command, "p.toml")
        if blame is not None:
            assert done.stderr.startswith(f"{BAD} {blame}")
        assert done.returncode == (0 if blame is None else 3)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_class_is_nothing_to_the_others(site: Site, name: str) -> None:
    install(site, name)

    listed = site.desk.run("plugins")
    schema = site.desk.run("schema")
    described = site.desk.run("describe", "bad")

    assert (listed.returncode, schema.returncode) == (0, 0)
    assert "numbers" in listed.stdout
    assert "bad" in listed.stdout
    assert "source.numbers" in json.loads(schema.stdout)["definitions"]
    assert described.returncode == 0 or described.stderr.startswith(BAD)
    assert "internal error" not in described.stderr


def test_what_an_object_says_of_its_truth_is_not_asked(site: Site) -> None:
    site.sink("bad", TRUTH, top=TOP)
    site.pipeline(TABLES)

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 0
    assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)


@pytest.mark.parametrize(
    ("body", "blame"),
    [
        ("patience = '5m'", "has str for patience; it must be a timedelta or None"),
        ("@property\ndef patience(self): raise Boom", "raised Boom from patience"),
        (
            "async def identity(self): return ''",
            "returned coroutine from identity(); it must be Unicode text",
        ),
    ],
)
def test_the_attribute_that_is_wrong_is_blamed_and_nothing_else_is_said(
    site: Site, body: str, blame: str
) -> None:
    site.sink("bad", body, top=TOP)
    site.pipeline(TABLES)

    done = site.desk.run("run", "p.toml")

    assert (done.returncode, done.stderr) == (3, f"{BAD} {blame}\n")
