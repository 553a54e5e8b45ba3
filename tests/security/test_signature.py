"""What the webhook sink signs, checked by two others: a library, and a reading of the specification."""

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from integration.test_cli_process import Desk
from levada import Json, Secret
from levada.sandbox import KapsoWorld, Receiver, Sandbox
from levada_webhook.signature import key_of, signed

OLD, NEW = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))


def verifies(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Check a delivery by the letter of Standard Webhooks 1.0.0."""
    key = base64.b64decode(secret.split("_", 1)[1])
    content = (
        headers["webhook-id"].encode() + b"." + headers["webhook-timestamp"].encode() + b"." + body
    )
    expected = hmac.new(key, content, hashlib.sha256).digest()
    for each in headers["webhook-signature"].split(" "):
        version, _, signature = each.partition(",")
        if version == "v1" and hmac.compare_digest(base64.b64decode(signature), expected):
            return True
    return False


def test_the_second_reading_knows_the_specification_s_answer() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    assert verifies(secret, headers, b'{"test": 2432232314}')
    assert not verifies(secret, headers, b'{"test": 2432232315}')
    assert not verifies(secret, {**headers, "webhook-id": "msg_other"}, b'{"test": 2432232314}')
    assert not verifies(secret, {**headers, "webhook-timestamp": "1"}, b'{"test": 2432232314}')


@given(
    key=st.binary(min_size=24, max_size=64),
    value=st.recursive(st.integers() | st.text(), st.lists, max_leaves=5),
    others=st.lists(st.just(b"k" * 32), max_size=2),
)
def test_any_key_and_any_body_verify_with_both(
    key: bytes, value: Json, others: list[bytes]
) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    body = json.dumps(value, ensure_ascii=False).encode()

    headers = signed([key_of(Secret(secret)), *others], "evt_1", int(time.time()), body)

    assert verifies(secret, headers, body)
    assert not verifies(secret, headers, body + b" ")
    assert Webhook(secret).verify(body, headers) == value


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver.in_thread() as running:
        yield running


@pytest.mark.parametrize("batch", ["false", "true"])
def test_what_the_command_sends_verifies_with_both_and_with_either_key(
    desk: Desk, receiver: Receiver, batch: str
) -> None:
    with Sandbox.in_thread(kapso=KapsoWorld.sample(executions=6), stevora=None) as sandbox:
        desk.write(
            "p.toml",
            f'[sources.kapso]\nbase_url = "{sandbox.kapso.url}"\n'
            f'[sinks.hook]\nuse = "webhook"\nurl = "{receiver.url}/take"\nbatch = {batch}\n'
            'secret = [{ env = "NEW" }, { env = "OLD" }]\n',
        )

        done = desk.run("run", "p.toml", KAPSO_API_KEY=sandbox.kapso_key, NEW=NEW, OLD=OLD)

    assert (done.returncode, len(receiver.events)) == (0, 48)
    for delivery in receiver.deliveries:
        for secret in (NEW, OLD):
            assert verifies(secret, delivery.headers, delivery.body)
            assert Webhook(secret).verify(delivery.body, delivery.headers)
        assert not verifies(
            "whsec_" + base64.b64encode(b"x" * 32).decode(), delivery.headers, delivery.body
        )


def openssl(secret: str, headers: Mapping[str, str], body: bytes) -> str:
    """Return the signature that OpenSSL makes for a delivery."""
    key = base64.b64decode(secret.split("_", 1)[1]).hex()
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"]
    made = subprocess.run(command, input=content, check=True, capture_output=True).stdout
    return f"v1,{base64.b64encode(made).decode()}"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
@pytest.mark.parametrize("length", [24, 32, 64])
def test_openssl_makes_the_same_signature(length: int) -> None:
    secret = "whsec_" + base64.b64encode(bytes(range(length))).decode()
    body = '{"text": "é \\u202e"}'.encode()

    headers = signed([key_of(Secret(secret))], "evt_1", 1614265330, body)

    assert headers["webhook-signature"] == openssl(secret, headers, body)
