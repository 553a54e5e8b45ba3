import base64

import pytest

from levada_kapso.cursors import widened


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("holds", "becomes"),
    [
        (
            '{"version":1,"values":["2026-08-26T09:12:00.000000Z"]}',
            '{"version":1,"values":["2026-08-26T09:12:00.000001Z"]}',
        ),
        ('["2026-08-26T09:12:00.999Z"]', '["2026-08-26T09:12:01.000Z"]'),
        ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
        ("2026-08-26 09:12:00.5-03:00", "2026-08-26 09:12:00.6-03:00"),
        ("2026-08-26T09:12:00.123456789", "2026-08-26T09:12:00.123456790"),
    ],
    ids=["microseconds", "carried", "seconds", "offset", "nanoseconds"],
)
def test_a_time_is_raised_by_one_unit_of_its_last_digit(holds: str, becomes: str) -> None:
    assert widened(encoded(holds), last_id="x") == encoded(becomes)
    assert widened(holds, last_id="x") == becomes


@pytest.mark.parametrize("padded", [True, False])
def test_it_is_encoded_as_it_was(padded: bool) -> None:
    def url_safe(text: str) -> str:
        cursor = base64.urlsafe_b64encode(text.encode()).decode()
        return cursor if padded else cursor.rstrip("=")

    assert widened(url_safe('{"ÿÿ":"2026-08-26T09:12:00Z"}'), last_id="x") == url_safe(
        '{"ÿÿ":"2026-08-26T09:12:01Z"}'
    )


@pytest.mark.parametrize(
    "cursor",
    [
        encoded('{"version":1,"values":["2026-08-26T09:12:00Z","e7"]}'),
        encoded('["2026-08-26T09:12:00Z","2026-08-26T09:13:00Z"]'),
        encoded('{"offset":100}'),
        encoded("\x00\x01\x02"),
        "opaque",
        "17",
        "",
    ],
    ids=["with an id", "two times", "no time", "binary", "opaque", "number", "empty"],
)
def test_what_is_exact_or_not_understood_is_left_alone(cursor: str) -> None:
    assert widened(cursor, last_id="e7") is None
