from levada import ConfigError, PluginError, Problem, SourceError
from levada.cli.failures import lines


def test_every_problem_of_a_file_is_a_line_of_its_own() -> None:
    error = ConfigError(
        Problem("unknown key", path="sources.a.b", file="p.toml", line=3), "no such thing"
    )

    assert lines(error) == [
        "p.toml:3: sources.a.b: unknown key",
        "levada: no such thing",
        "2 problems",
    ]


def test_one_problem_needs_no_total() -> None:
    assert lines(ConfigError("x")) == ["levada: x"]


def test_an_error_is_one_line_with_its_notes_below() -> None:
    error = PluginError("acme", "did not load", distribution="levada-acme", version="1")
    error.add_note("plugin 'b' did not load either")

    assert lines(error) == [
        "levada: plugin 'acme' (levada-acme 1) did not load",
        "levada: plugin 'b' did not load either",
    ]


def test_what_a_vendor_says_cannot_paint_the_terminal() -> None:
    assert lines(SourceError("a", "said \x1b[2J")) == [r"levada: source 'a': said \x1b[2J"]


def test_a_file_that_cannot_be_written_is_named() -> None:
    error = PermissionError(13, "Permission denied", "/etc/pipeline.toml")

    assert lines(error) == ["levada: /etc/pipeline.toml: Permission denied"]


def test_a_bug_shows_no_traceback_and_says_how_to_get_it() -> None:
    (line,) = lines(ZeroDivisionError("secret"))

    assert line.startswith("levada: internal error (ZeroDivisionError); run again with --debug")
