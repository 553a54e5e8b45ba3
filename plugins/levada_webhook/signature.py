"""Signatures as Standard Webhooks 1.0.0 has them (https://www.standardwebhooks.com)."""

import base64
import binascii
import hmac
from collections.abc import Sequence

from levada import Fatal, Secret

PREFIX = "whsec_"
LENGTHS = range(24, 65)  # bytes of a key, by the specification


def key_of(secret: Secret) -> bytes:
    """Return the key that a ``whsec_…`` secret stands for; its Base64 may lack the padding.

    Raises:
        Fatal: it is no such secret. The message does not hold it.
    """
    text = secret.reveal()
    coded = text.removeprefix(PREFIX)
    try:
        key = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or len(key) not in LENGTHS:
        raise Fatal(
            f"the signing secret from {secret.origin} is not one: it must be {PREFIX} and "
            "24 to 64 bytes in Base64; make one with: echo whsec_$(openssl rand -base64 32)"
        )
    return key


def signed(keys: Sequence[bytes], name: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the headers that identify and sign *body*: one signature for each key, in order.

    *name* is the same at every attempt and holds no dot; *timestamp_s* is the attempt's.
    """
    headers = {"webhook-id": name, "webhook-timestamp": str(timestamp_s)}
    if keys:
        content = b"%b.%d.%b" % (name.encode("ascii"), timestamp_s, body)
        headers["webhook-signature"] = " ".join(_signature(key, content) for key in keys)
    return headers


def _signature(key: bytes, content: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode("ascii")
