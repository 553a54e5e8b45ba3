"""Cursors that would skip rows of equal time, widened so that they do not.

The one cursor that Kapso's reference shows is the Base64 of
``{"version":1,"values":["2026-08-26T09:12:00.000000Z"]}``: the time of a row, without its id. The
next page then begins below that time, and rows of the same time that did not fit on this page are
never listed. Such a cursor is moved up by one unit of its own precision: the next page repeats the
rows of that time, and what was read already is known by its id.
"""

import base64
import binascii
import re
from datetime import datetime, timedelta
from typing import Final

_MOMENT: Final = re.compile(
    r"(?P<second>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(?P<decimals>\d+))?(?=$|[^\d:.])"
)
_STANDARD: Final = b"+/"
_URL_SAFE: Final = b"-_"


def widened(cursor: str, *, last_id: str) -> str | None:
    """Return a cursor for the rows up to and including the time of *cursor*.

    None where that is not needed, because it holds *last_id*, or not possible, because it is not
    understood: then the server knows best.
    """
    plain = _raised(cursor, last_id)
    if plain is not None:
        return plain
    for alphabet in (_STANDARD, _URL_SAFE):
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            text = base64.b64decode(padded, alphabet, validate=True).decode()
        except (binascii.Error, ValueError):
            continue
        raised = _raised(text, last_id)
        if raised is None:
            return None
        encoded = base64.b64encode(raised.encode(), alphabet).decode()
        return encoded if "=" in cursor else encoded.rstrip("=")
    return None


def _raised(text: str, last_id: str) -> str | None:
    """Raise the only time in *text* by one unit of its last digit; None if there is not just one."""
    found = list(_MOMENT.finditer(text))
    if len(found) != 1 or last_id in text:
        return None
    (match,) = found
    second, decimals = match["second"], match["decimals"]
    fraction = str(int(decimals) + 1).zfill(len(decimals)) if decimals else ""
    if not decimals or len(fraction) > len(decimals):  # the next second
        later = datetime.fromisoformat(second) + timedelta(seconds=1)
        second = later.isoformat(sep=second[10])
        fraction = fraction[1:]
    moment = f"{second}.{fraction}" if decimals else second
    return text[: match.start()] + moment + text[match.end() :]
