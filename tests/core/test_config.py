"""Loading whole files, through the real registry and an installed plugin."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from core.test_config_samples import Basin, Colour, Spring, installed
from levada import ConfigError, PluginError, Setup
from levada.config import load
from levada.plugins import Registry

CANARY = "cnry_0123456789"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("SPRING_KEY", CANARY)
    monkeypatch.delenv("BASIN_SPARE", raising=False)
    return installed(tmp_path, monkeypatch)


@pytest.fixture
def setup(tmp_path: Path, registry: Registry) -> Callable[[str], Setup]:
    """Load a pipeline file with this text, called archive.toml."""

    def load_text(text: str) -> Setup:
        file = tmp_path / "archive.toml"
        file.write_text(dedent(text), encoding="utf-8")
        return load(file, registry=registry)

    return load_text


@pytest.fixture
def problems(tmp_path: Path, setup: Callable[[str], Setup]) -> Callable[[str], list[str]]:
    """Load a pipeline file that is wrong; return the problems as they are shown."""

    def of_text(text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            setup(text)
        return [str(each).replace(f"{tmp_path}{os.sep}", "") for each in caught.value.problems]

    return of_text


Load = Callable[[str], Setup]
Problems = Callable[[str], list[str]]

SOURCE = "[sources.spring]\n"
SINK = "[sinks.basin]\npath = 'out'\n"


# What a sound file gives


def test_a_table_is_named_after_its_connector_unless_it_says_use(setup: Load) -> None:
    loaded = setup(SOURCE + "[sources.other]\nuse = 'spring'\n" + SINK)

    assert [each.name for each in loaded.sources] == ["spring", "other"]
    assert [type(each.source) for each in loaded.sources] == [Spring, Spring]


def test_every_type_arrives_as_its_option_wants_it(setup: Load, tmp_path: Path) -> None:
    loaded = setup(
        SOURCE
        + """
        runs = ["a", "b"]
        share = 0.25
        window = "5m"
        since = 2026-01-31T12:00:00Z
        loud = true
        [sinks.basin]
        path = "out"
        compress = "gzip"
        level = 2
        colour = "blue"
        headers = { X-A = "1" }
        steps = ["0s", "1d"]
        tags = ["a", "a"]
        ports = [1, 2]
        size = "big"
        anything = [1, { a = "b" }]
        """.replace("        ", "")
    )

    source, sink = loaded.sources[0].source, loaded.sinks[0].sink
    assert isinstance(source, Spring)
    assert isinstance(sink, Basin)
    assert source.runs == ("a", "b")
    assert source.share == 0.25
    assert source.window == timedelta(minutes=5)
    assert source.since == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert source.loud is True
    assert sink.path == tmp_path / "out"
    assert (sink.compress, sink.level, sink.colour) == ("gzip", 2, Colour.BLUE)
    assert sink.headers == {"X-A": "1"}
    assert sink.steps == [timedelta(0), timedelta(days=1)]
    assert sink.tags == {"a"}
    assert sink.ports == (1, 2)
    assert sink.size == "big"
    assert sink.anything == [1, {"a": "b"}]


def test_a_whole_number_is_a_number(setup: Load) -> None:
    loaded = setup(SOURCE + "rate_share = 1\n" + SINK)

    assert repr(loaded.sources[0].source.rate_share) == "1.0"


def test_account_is_the_sources_identity_unless_given(setup: Load) -> None:
    loaded = setup(SOURCE + "[sources.b]\nuse = 'spring'\naccount = 'acme'\n" + SINK)

    assert [each.account for each in loaded.sources] == ["https://spring.test", "acme"]


def test_only_and_except_are_one_pattern_or_several(setup: Load) -> None:
    loaded = setup(SOURCE + SINK + "only = 'run.*'\nexcept = ['a', 'b[cd]']\n")

    selection = loaded.sinks[0].selection
    assert (selection.only, selection.excluded) == (("run.*",), ("a", "b[cd]"))


def test_relative_paths_start_from_the_files_folder(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "conf"
    folder.mkdir()
    folder.joinpath("a.toml").write_text(SOURCE + SINK + "[pipeline]\nstate = '../state'\n")
    monkeypatch.chdir(tmp_path)

    loaded = load(Path("conf/a.toml"), registry=registry)

    sink = loaded.sinks[0].sink
    assert isinstance(sink, Basin)
    assert sink.path == folder / "out"
    assert loaded.settings.state == folder / "../state"
    assert loaded.file == folder / "a.toml"


def test_a_tilde_is_the_home_folder(setup: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")

    loaded = setup(SOURCE + "[sinks.basin]\npath = '~/out'\n")

    sink = loaded.sinks[0].sink
    assert isinstance(sink, Basin)
    assert sink.path == Path("/home/somebody/out")


def test_state_lives_beside_the_file_under_its_stem(setup: Load, tmp_path: Path) -> None:
    assert setup(SOURCE + SINK).settings.state == tmp_path / ".levada" / "archive"


def test_settings_have_their_defaults(setup: Load) -> None:
    settings = setup(SOURCE + SINK + "[pipeline]\nconcurrency = 2\n").settings

    assert (settings.concurrency, settings.poll_interval) == (2, timedelta(seconds=10))


def test_a_byte_order_mark_is_no_part_of_the_file(setup: Load) -> None:
    assert setup("\ufeff" + SOURCE + SINK).sources


def test_only_the_named_plugins_are_imported(setup: Load) -> None:
    setup(SOURCE + SINK)  # two broken ones are installed besides


# Secrets


def test_a_secret_comes_from_the_variable_its_option_names(setup: Load) -> None:
    source = setup(SOURCE + SINK).sources[0].source

    assert isinstance(source, Spring)
    assert source.key.reveal() == CANARY


def test_a_secret_comes_from_where_the_file_says(
    setup: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER", "from variable")
    file = tmp_path / "key"
    file.write_text("from file\n")
    file.chmod(0o600)

    loaded = setup(
        "[sources.spring]\nkey = { env = 'OTHER' }\n"
        "[sinks.basin]\npath = 'out'\ntoken = { command = ['echo', 'from command'] }\n"
        "secrets = [{ file = 'key' }, { env = 'OTHER' }]\n"
    )

    source, sink = loaded.sources[0].source, loaded.sinks[0].sink
    assert isinstance(source, Spring)
    assert isinstance(sink, Basin)
    assert sink.token
    assert source.key.reveal() == "from variable"
    assert sink.token.reveal() == "from command"
    assert [each.reveal() for each in sink.secrets] == ["from file", "from variable"]


def test_one_secret_stands_for_a_list_of_one(setup: Load) -> None:
    sink = setup(SOURCE + SINK + "secrets = { env = 'SPRING_KEY' }\n").sinks[0].sink

    assert isinstance(sink, Basin)
    assert [each.reveal() for each in sink.secrets] == [CANARY]


def test_an_optional_secret_is_taken_from_its_variable_when_that_is_set(
    setup: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = setup(SOURCE + SINK).sinks[0].sink
    monkeypatch.setenv("BASIN_SPARE", "spare")
    with_it = setup(SOURCE + SINK).sinks[0].sink

    assert isinstance(without, Basin)
    assert isinstance(with_it, Basin)
    assert without.spare is None
    assert with_it.spare
    assert with_it.spare.reveal() == "spare"


def test_secrets_need_not_be_there_for_those_who_talk_to_nobody(
    setup: Load, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPRING_KEY")
    file = tmp_path / "a.toml"
    file.write_text(SOURCE + SINK + "token = { file = 'missing' }\n")

    loaded = load(file, registry=registry, read_secrets=False)

    source = loaded.sources[0].source
    assert isinstance(source, Spring)
    assert source.key.reveal() == ""


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("key = 'CANARY'", "key: a secret must not stand in the file; refer to it: {"),
        ("key = 3", "key: expected a reference ({ env"),
        ("key = {}", "key: expected exactly one of env, file, command"),
        ("key = { env = 'A', file = 'b' }", "key: expected exactly one of env, file, command"),
        ("key = { evn = 'CANARY' }", 'key.evn: unknown key; did you mean "env"?'),
        ("key = { env = 3 }", "key.env: expected a string, got an integer"),
        ("key = { env = '' }", "key.env: expected a string that is not empty"),
        ("key = { env = 'NO_SUCH' }", "key: environment variable NO_SUCH is not set; export it"),
        ("key = { env = 'CANARY' }", "key: the environment variable named here is not set"),
        ("key = { env = 'a=b' }", "key: the environment variable named here is not set"),
        ("key = { file = 'nowhere' }", "key: secret file nowhere cannot be read: No such file"),
        ("key = { command = 'CANARY' }", "key.command: expected a list of strings, got a string"),
        ("key = { command = [1] }", "key.command: expected a string, got an integer"),
        ("key = { command = [] }", "key.command: expected a list of strings, got an empty one"),
        ("key = { command = ['false'] }", "key: secret command 'false' exited 1"),
    ],
)
def test_a_wrong_reference_is_refused_without_showing_it(
    problems: Problems, line: str, problem: str
) -> None:
    found = problems("[sources.spring]\n" + line.replace("CANARY", CANARY) + "\n" + SINK)

    assert len(found) == 1
    assert found[0].startswith(f"archive.toml:2: sources.spring.{problem}")
    assert CANARY not in found[0]


def test_every_secret_of_a_list_is_judged(problems: Problems) -> None:
    found = problems(SOURCE + SINK + f"secrets = ['{CANARY}', {{ env = 'NO_SUCH' }}]\n")

    assert [each.split(": ")[1] for each in found] == [
        "sinks.basin.secrets[0]",
        "sinks.basin.secrets[1]",
    ]
    assert CANARY not in "".join(found)


def test_an_unset_variable_is_named_with_what_to_do(
    problems: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPRING_KEY")

    found = problems("\n" + SOURCE + SINK)

    assert "\n".join(found) == (
        "archive.toml:2: sources.spring.key: environment variable SPRING_KEY is not set; export it, "
        'or say where the secret is: key = { env = "NAME" }'
    )


# What is wrong


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("wndow = '1s'", 'wndow: unknown key; did you mean "window"?'),
        ("only = 'x'", "only: unknown key; known here: account, depth, key, linger, loud, "),
        ("'a b' = 1", '"a b": unknown key; known here: '),
        ("'\\u001b' = 1", '"\\u001b": unknown key; known here: '),
        ("window = 10", 'window: expected a duration such as "10s", got an integer'),
        ("window = '10'", 'window: expected a duration such as "10s" (ms, s, m, h or d), got '),
        ("runs = 'a'", "runs: expected a list of strings, got a string"),
        ("runs = ['a', 1, true]", "runs[1]: expected a string, got an integer"),
        ("url = 3", "url: expected a string, got an integer"),
        ("url = 'CANARY'", "url: must match https?://.+"),
        ("depth = '3'", "depth: expected an integer, got a string"),
        ("depth = true", "depth: expected an integer, got a boolean"),
        ("depth = 3.0", "depth: expected an integer, got a float"),
        ("depth = 0", "depth: must be at least 1"),
        ("depth = 101", "depth: must be at most 100"),
        ("depth = 9223372036854775808", "depth: expected an integer, got one that does not fit"),
        ("share = 1.0", "share: must be less than 1"),
        ("share = 0", "share: must be more than 0"),
        ("share = '0.5'", "share: expected a number, got a string"),
        ("share = nan", "share: expected a number, got one that is not finite"),
        ("share = true", "share: expected a number, got a boolean"),
        ("loud = 1", "loud: expected true or false, got an integer"),
        ("loud = 'yes'", "loud: expected true or false, got a string"),
        ("since = 2026-01-31T12:00:00", "since: expected a date and time such as 2026-01-31T"),
        (
            "since = 2026-01-31",
            "since: expected a date and time such as 2026-01-31T12:00:00Z, got a",
        ),
        ("account = 3", "account: expected a string, got an integer"),
        ("use = 3", "use: expected the name of a connector, got an integer"),
        ("use = 'sprin'", "use: no connector is named 'sprin'; did you mean 'spring'?"),
        ("use = 'basin'", "use: connector 'basin' is a sink, not a source"),
    ],
)
def test_a_wrong_line_of_a_source_is_explained(problems: Problems, line: str, problem: str) -> None:
    line = line.replace("'\\u001b'", '"\\u001b"').replace("CANARY", CANARY)

    found = problems(SOURCE + line + "\n" + SINK)

    assert found[0].startswith(f"archive.toml:2: sources.spring.{problem}")
    assert CANARY not in "".join(found)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("compress = 'gz'", 'compress: expected "gzip", got another string'),
        ("format = 'rww'", 'format: expected "cloudevents" or "raw", got another string; did you'),
        ("level = 3", "level: expected 1 or 2, got an integer"),
        ("level = true", "level: expected 1 or 2, got a boolean"),
        ("colour = 'bleu'", 'colour: expected "red" or "blue", got another string; did you mean'),
        ("headers = { a = 1 }", "headers.a: expected a string, got an integer"),
        ("headers = 'a'", "headers: expected a table of strings, got a string"),
        ("steps = '5m'", 'steps: expected a list of durations such as "10s", got a string'),
        ("steps = ['5m', '5']", 'steps[1]: expected a duration such as "10s"'),
        ("steps = ['1s', '2s', '3s', '4s']", "steps: must have 3 or fewer"),
        ("tags = ['a', 'b', 'c']", "tags: must have 2 or fewer"),
        ("ports = [0]", "ports: must have items that each must be at least 1"),
        ("title = ''", "title: must not be empty"),
        ("size = 1.5", "size: expected an integer or a string, got a float"),
        ("shape = 'oval'", 'shape: must be one of "round", "square"'),
        ("pairs = 3", "pairs: must be even"),
        ("only = ['a', 3]", "only[1]: expected a string, got an integer"),
        ("except = [ '' ]", "except[0]: an empty pattern matches nothing"),
        ("only = 'a[b'", 'only[0]: "[" without "]"'),
        ("only = 3", "only: expected a list of strings, got an integer"),
    ],
)
def test_a_wrong_line_of_a_sink_is_explained(problems: Problems, line: str, problem: str) -> None:
    found = problems(f"{SOURCE}[sinks.basin]\n{line}\npath = 'out'\n")

    assert len(found) == 1
    assert found[0].startswith(f"archive.toml:3: sinks.basin.{problem}")


def test_options_that_only_the_constructor_can_judge_are_placed_at_the_table(
    problems: Problems,
) -> None:
    assert problems(SOURCE + SINK + "low = 11\n") == [
        "archive.toml:2: sinks.basin: low is above limit"
    ]
    assert problems(SOURCE + SINK + "title = 'plain'\ncompress = 'gzip'\n") == [
        "archive.toml:2: sinks.basin: a plain title cannot be compressed"
    ]


def test_a_required_option_that_is_missing_is_placed_at_the_table(problems: Problems) -> None:
    assert problems(SOURCE + "[sinks.basin]\n") == [
        "archive.toml:2: sinks.basin.path: missing; set it to a path"
    ]


@pytest.mark.parametrize("path", ["''", '"a\\u0000b"', "'~no_such_user/x'"])
def test_a_path_that_cannot_be_one_is_refused(problems: Problems, path: str) -> None:
    assert len(problems(SOURCE + f"[sinks.basin]\npath = {path}\n")) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["archive.toml: sources: missing; add", "archive.toml: sinks: missing; add"]),
        ("sources = 1\n" + SINK, ["archive.toml:1: sources: expected tables named [sources.NAME], g"]),
        ("[[sources]]\n" + SINK, ["archive.toml:1: sources: expected tables named [sources.NAME], g"]),
        ("[sources]\n" + SINK, ["archive.toml:1: sources: missing; add a table named [sources.NAME]"]),
        ("[sources]\nspring = 1\n" + SINK, ["archive.toml:2: sources.spring: expected a table, got"]),
        ("[source.spring]\n" + SINK, ['archive.toml:1: source: unknown table; did you mean "sources"']),
        ("x = 1\n" + SOURCE + SINK, ["archive.toml:1: x: unknown key; known here: pipeline, sinks, s"]),
        ("pipeline = 1\n" + SOURCE + SINK, ["archive.toml:1: pipeline: expected a table, got an int"]),
        (
            "[sources.'a b']\nuse = 'spring'\n" + SINK,
            ['archive.toml:1: sources."a b": a name is made of letters, digits, - and _'],
        ),
        (
            SOURCE + SINK + "[pipeline]\nrequest_timeout = '0s'\nshutdown_timeout = '99ms'\n",
            [
                'archive.toml:5: pipeline.request_timeout: must be at least "100ms"',
                'archive.toml:6: pipeline.shutdown_timeout: must be at least "100ms"',
            ],
        ),
        (
            SOURCE + SINK + "[pipeline]\nconcurency = 1\nconcurrency = 0\nretention = 3\n",
            [
                'archive.toml:5: pipeline.concurency: unknown key; did you mean "concurrency"?',
                "archive.toml:6: pipeline.concurrency: must be at least 1",
                'archive.toml:7: pipeline.retention: expected a duration such as "10s", got an in',
            ],
        ),
    ],
)  # fmt: skip
def test_wrong_tables_are_explained(problems: Problems, text: str, expected: list[str]) -> None:
    found = problems(text)

    assert len(found) == len(expected)
    for shown, start in zip(found, expected, strict=True):
        assert shown.startswith(start)


def test_every_problem_is_in_one_report_sorted_by_line(problems: Problems) -> None:
    found = problems(
        """
        [pipeline]
        sate = "x"
        [sinks.basin]
        only = [1]
        pth = "x"
        [sources.spring]
        depth = "x"
        runs = [
          "a",
          2,
        ]
        """
    )

    assert [each.split(" ")[:2] for each in found] == [
        ["archive.toml:3:", "pipeline.sate:"],
        ["archive.toml:4:", "sinks.basin.path:"],
        ["archive.toml:5:", "sinks.basin.only[0]:"],
        ["archive.toml:6:", "sinks.basin.pth:"],
        ["archive.toml:8:", "sources.spring.depth:"],
        ["archive.toml:11:", "sources.spring.runs[1]:"],
    ]


# Plugins at fault


def test_a_broken_plugin_alone_is_a_plugin_error(setup: Load) -> None:
    with pytest.raises(PluginError, match="plugin 'broken'") as caught:
        setup("[sources.broken]\n[sources.shattered]\n" + SINK)

    assert "shattered" in "".join(caught.value.__notes__)


def test_a_broken_plugin_is_one_problem_among_others(problems: Problems) -> None:
    found = problems("[sources.broken]\n[sinks.basin]\nonly = 1\n")

    assert found[0].startswith("archive.toml:1: sources.broken: plugin 'broken' (samples 1.0) did")
    assert len(found) == 3


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("odd", "declares option 'number' with a type no file can hold"),
        ("clumsy", "broke on its own options: ZeroDivisionError"),
    ],
)
def test_a_class_at_fault_is_a_plugin_error(setup: Load, name: str, reason: str) -> None:
    with pytest.raises(PluginError) as caught:
        setup(SOURCE + f"[sinks.{name}]\n")

    assert str(caught.value) == f"plugin '{name}' (samples 1.0) {reason}"


# Files that are no pipeline files


def test_a_missing_file_is_answered_with_the_nearest_name(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("pipeline.toml").touch()
    tmp_path.joinpath("other.toml").touch()

    with pytest.raises(ConfigError) as caught:
        load(Path("pipline.toml"), registry=registry)

    assert str(caught.value) == "File pipline.toml does not exist; did you mean pipeline.toml?"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone/x.toml", "File gone/x.toml does not exist"),
        ("folder", "File folder is a folder; name a pipeline file in it"),
        ("latin.toml", "latin.toml:2: not UTF-8 text; save the file as UTF-8"),
        ("syntax.toml", "syntax.toml:2: Expected '=' after a key in a key/value pair (column 3)"),
        ("end.toml", "end.toml:3: Unterminated string at the end of the file"),
        ("deep.toml", "File deep.toml nests its values too deeply"),
        ("digits.toml", "File digits.toml has a number of more than 4300 digits"),
        ("/dev/zero", "File /dev/zero is longer than 4194304 bytes, so no pipeline file"),
        ("a\0b", "File a\0b cannot be read: its name is not a path"),
        ("x" * 300, f"File {'x' * 300} cannot be read: File name too long"),
    ],
)
def test_a_file_that_cannot_be_read_is_explained(
    tmp_path: Path,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("latin.toml").write_bytes(b"[a]\n# caf\xe9\n")
    Path("syntax.toml").write_text("[a]\nb c\n")
    Path("end.toml").write_text('[a]\nb = """\n')
    Path("deep.toml").write_text("a = " + "[" * 5000)
    Path("digits.toml").write_text("a = " + "1" * 5000)

    with pytest.raises(ConfigError) as caught:
        load(Path(name), registry=registry)

    assert str(caught.value) == message


def test_loading_needs_neither_http_nor_command_line() -> None:
    import subprocess
    import sys

    code = "import levada.config, levada.describe, sys; print({'httpx', 'click'} & {*sys.modules})"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout == "set()\n"
