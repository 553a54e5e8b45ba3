import base64

import pytest
from standardwebhooks import Webhook

from levada import Fatal, Secret
from levada_webhook.signature import key_of, signed
from plugins.webhook.conftest import SECRET


def test_the_specification_s_known_answer() -> None:
    headers = signed(
        [key_of(Secret(SECRET))],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("length", [24, 32, 64])
@pytest.mark.parametrize("padding", ["padded", "bare"])
def test_keys_of_24_to_64_bytes(length: int, padding: str) -> None:
    coded = base64.b64encode(b"k" * length).decode()
    text = "whsec_" + (coded.rstrip("=") if padding == "bare" else coded)

    assert key_of(Secret(text)) == b"k" * length == Webhook(text)._whsecret


@pytest.mark.parametrize(
    "text",
    [
        "hunter2hunter2",
        SECRET.removeprefix("whsec_"),
        "whsec_" + base64.b64encode(b"k" * 23).decode(),
        "whsec_" + base64.b64encode(b"k" * 65).decode(),
        "whsec_not*base64*at*all*not*base64*at*all",
        "whsec_",
        "whsec_ключ",
    ],
)
def test_other_secrets_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(Fatal, match="environment variable KEY is not one") as refused:
        key_of(Secret(text, origin="environment variable KEY"))

    shown = str(refused.value).replace("whsec_ and", "").replace("whsec_$(", "")
    assert (text.removeprefix("whsec_") or "whsec_") not in shown


def test_without_keys_there_is_no_signature() -> None:
    assert "webhook-signature" not in signed([], "evt_1", 1, b"{}")
