import base64
import copy
import html
import json
import logging
import os
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from attrs import frozen

from levada import ApiKey, ConfigError, Secret
from levada.secret import scrub, scrub_known

VALUE = "s3cr3t-value"


@frozen
class Holder:
    key: Secret


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        "{}".format,
        "{!r:>20}".format,
        lambda secret: f"{secret:.3}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031  # what logging does
        lambda secret: repr([secret]),
        lambda secret: repr(Holder(secret)),
        lambda secret: repr(ApiKey("X-API-Key", secret)),
        lambda secret: repr(vars(type(secret))),
    ],
    ids=["str", "repr", "format", "padded", "f-string", "percent", "list", "attrs", "key", "vars"],
)
def test_a_secret_never_shows_itself(show: Callable[[Secret], str]) -> None:
    shown = show(Secret(VALUE))

    assert VALUE not in shown


def test_a_secret_is_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("levada").warning("key %s", Secret(VALUE))

    assert caplog.messages == ["key [redacted]"]


def test_a_secret_shows_itself_when_asked() -> None:
    assert Secret(VALUE).reveal() == VALUE


@pytest.mark.parametrize(
    "leave", [pickle.dumps, copy.copy, copy.deepcopy], ids=lambda f: f.__name__
)
def test_a_secret_cannot_leave_in_bulk(leave: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        leave(Secret(VALUE))


def test_a_secret_is_no_json_and_no_key() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps(Secret(VALUE))
    with pytest.raises(TypeError, match="unhashable"):
        {Secret(VALUE)}


def test_equal_secrets_are_equal() -> None:
    assert Secret("ü") == Secret("ü", origin="elsewhere")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


def test_a_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", VALUE)

    secret = Secret.env("ACME_KEY")

    assert secret.reveal() == VALUE
    assert secret.origin == "environment variable ACME_KEY"


@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
def test_a_variable_that_says_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("ACME_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("ACME_KEY", value)

    with pytest.raises(ConfigError, match="environment variable ACME_KEY is not set"):
        Secret.env("ACME_KEY")


def private(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


def test_a_file_is_read_less_one_newline(tmp_path: Path) -> None:
    path = private(tmp_path / "key", f"{VALUE}\n\n".encode())

    assert Secret.file(path).reveal() == f"{VALUE}\n"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660], ids=oct)
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "key", VALUE.encode())
    path.chmod(mode)

    with pytest.raises(ConfigError) as caught:
        Secret.file(path)

    assert str(caught.value) == f"secret file {path} can be read by others; run: chmod 600 {path}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "not UTF-8 text")],
    ids=["empty", "newline", "binary"],
)
def test_a_file_without_a_value_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Secret.file(private(tmp_path / "key", content))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Secret.file(tmp_path / "nowhere")


def command(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_command_gives_what_it_prints() -> None:
    assert Secret.command(command(f"print('{VALUE}')")).reveal() == VALUE


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (command("print()"), "printed nothing"),
        (command(f"print('{VALUE}'); raise SystemExit(3)"), "exited 3"),
        (command("import os; os.write(1, b'\\xff')"), "UnicodeDecodeError"),
        (["/no/such/command"], "FileNotFoundError"),
    ],
    ids=["nothing", "failed", "binary", "missing"],
)
def test_a_command_that_gives_nothing_is_refused_without_what_it_printed(
    argv: list[str], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        Secret.command(argv)

    assert VALUE not in str(caught.value)


def test_a_file_with_the_line_ends_of_windows_is_read_less_one(tmp_path: Path) -> None:
    assert Secret.file(private(tmp_path / "key", b"key\r\n")).reveal() == "key"


@pytest.mark.timeout(10)
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key", 0o600)

    for path in (tmp_path / "key", Path("/dev/zero")):
        with pytest.raises(ConfigError, match=f"secret file {path} is not a regular file"):
            Secret.file(path)


@pytest.mark.timeout(10)
def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = private(tmp_path / "key", b"x" * (64 * 1024))
    assert len(Secret.file(path).reveal()) == 64 * 1024

    os.truncate(path, 1 << 40)  # of holes
    with pytest.raises(ConfigError, match="has more than 65536 bytes"):
        Secret.file(path)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "argv",
    [
        ["head", "-c", "99999999", "/dev/zero"],
        ["cat", "/dev/zero"],
        ["sh", "-c", "cat /dev/zero | cat"],
    ],
    ids=["much", "endless", "of a child"],
)
def test_a_command_that_prints_too_much_is_ended(argv: list[str]) -> None:
    with pytest.raises(
        ConfigError, match=f"secret command '{argv[0]}' printed more than 65536 bytes"
    ):
        Secret.command(argv)


def test_a_value_that_was_rotated_is_read_again(tmp_path: Path) -> None:
    path = private(tmp_path / "key", b"old")
    secret = Secret.file(path)
    unchanged = secret.reload()

    path.write_bytes(b"new")

    assert (unchanged, secret.reload(), secret.reveal()) == (False, True, "new")


def test_a_value_that_can_no_longer_be_read_stays(tmp_path: Path) -> None:
    path = private(tmp_path / "key", b"old")
    secret = Secret.file(path)

    path.unlink()

    assert (secret.reload(), secret.reveal()) == (False, "old")


def test_a_value_given_by_the_program_cannot_be_read_again() -> None:
    assert not Secret(VALUE).reload()


def test_scrubbing_replaces_the_longest_first() -> None:
    secrets = [Secret("abc"), Secret("abcdef"), Secret("")]

    assert scrub("abcdef abc ab", secrets) == "[redacted] [redacted] ab"


ODD = 'cnry/1+2"3\\4=5 É'


@pytest.mark.parametrize(
    "form",
    [
        str,
        repr,
        ascii,
        json.dumps,
        lambda value: json.dumps(value, ensure_ascii=False),
        lambda value: json.dumps(value).replace("/", r"\/"),
        quote,
        lambda value: quote(value, safe=""),
        quote_plus,
        lambda value: re.sub("%..", lambda found: found[0].lower(), quote(value, safe="")),
        lambda value: quote(quote(value, safe=""), safe=""),
        lambda value: "".join(f"%{byte:02x}" for byte in value.encode()),
        lambda value: "".join(f"\\u{ord(char):04X}" for char in value),
        lambda value: json.dumps(json.dumps(value)),
        html.escape,
        lambda value: "".join(f"&#{ord(char)};" for char in value),
        lambda value: "".join(f"&#x{ord(char):x};" for char in value),
        lambda value: "".join(f"&#x{ord(char):X};" for char in value),
        lambda value: "".join(f"\\x{byte:02x}" for byte in value.encode()),
        lambda value: "".join(f"\\x{byte:02X}" for byte in value.encode()),
        str.lower,
        str.upper,
        lambda value: value.encode().hex(),
        lambda value: value.encode().hex(":"),
        lambda value: value.encode().hex(" ").upper(),
        lambda value: value.encode().hex("-").upper(),
        lambda value: base64.b64encode(value.encode()).decode(),
        lambda value: base64.urlsafe_b64encode(value.encode()).decode().rstrip("="),
        lambda value: base64.b64encode(f"x:{value}".encode()).decode(),
        lambda value: base64.b64encode(f"me:{value}:more".encode()).decode(),
    ],
    ids=[
        "raw",
        "repr",
        "ascii",
        "JSON",
        "JSON in UTF-8",
        "JSON as PHP writes it",
        "path",
        "URL",
        "form",
        "lower-case URL",
        "URL in a URL",
        "every byte in a URL",
        "every character in JSON",
        "JSON in JSON",
        "HTML",
        "every character in HTML",
        "every character in HTML, hexadecimal",
        "every character in HTML, upper-case",
        "every byte escaped",
        "every byte escaped, upper-case",
        "lower-case",
        "upper-case",
        "hexadecimal",
        "hexadecimal with colons",
        "hexadecimal with spaces",
        "hexadecimal with hyphens",
        "Base64",
        "URL-safe Base64",
        "Basic",
        "within Base64",
    ],
)
def test_scrubbing_knows_how_programs_write_a_value(form: Callable[[str], str]) -> None:
    text = f"before {form(ODD)} after"

    scrubbed = Secret(ODD).scrub(text)

    assert "[redacted]" in scrubbed
    assert form(ODD) not in scrubbed
    assert scrubbed.startswith("before ")
    assert scrubbed.endswith(" after")


def test_the_value_before_the_rotation_is_scrubbed_too(tmp_path: Path) -> None:
    path = private(tmp_path / "key", b"old-value")
    secret = Secret.file(path)
    path.write_bytes(b"new-value")

    secret.reload()

    assert secret.scrub("old-value new-value") == "[redacted] [redacted]"
    assert scrub_known("old-value new-value") == "[redacted] [redacted]"


def test_every_secret_there_is_gets_scrubbed_and_none_that_has_gone() -> None:
    here, gone = Secret("cnry-is-here"), Secret("cnry-is-gone")
    del gone

    assert scrub_known("cnry-is-here cnry-is-gone") == "[redacted] cnry-is-gone"
    assert here.reveal() == "cnry-is-here"


def test_a_short_secret_does_not_eat_words() -> None:
    short = Secret("sandbox")

    assert scrub_known("the sandbox says") == "the sandbox says"
    assert short.scrub("the sandbox says") == "the [redacted] says"


def test_a_value_that_is_no_utf8_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "\udcff-first")
    secret = Secret.env("ACME_KEY")
    monkeypatch.setenv("ACME_KEY", "\udcff-second")

    assert secret.reload()
    assert secret != Secret("\udcff-first")
