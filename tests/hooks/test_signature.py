"""Standard Webhooks: what signs, and every way in which it does not."""

import base64
import hashlib
import hmac
import io
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook
from starlette.datastructures import Headers

from guard.hooks.model import signing_key
from guard.hooks.signature import NotSigned, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = "whsec_" + base64.b64encode(b"the secret before the last rotation").decode()
NOW_S = 1614265330.0
BODY = b'{"test": 2432232314}'
VECTOR = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
"""The example of the specification."""


def signs(
    headers: dict[str, str], body: bytes = BODY, *, secrets: tuple[str, ...] = (SECRET,), now: float = NOW_S
) -> bool:
    try:
        verify(Headers(headers), io.BytesIO(body), [signing_key(secret) for secret in secrets], now)
    except NotSigned:
        return False
    return True


def test_the_example_of_the_specification_signs() -> None:
    assert signs(VECTOR)
    assert signs(VECTOR, secrets=(SECRET.removeprefix("whsec_"),))


@pytest.mark.parametrize(
    "body", [b"{}", b"", "größer".encode(), b"x" * 200_000], ids=["small", "empty", "utf-8", "long"]
)
def test_what_the_library_of_the_project_signs_is_accepted_and_a_changed_byte_is_not(body: bytes) -> None:
    at = datetime.fromtimestamp(NOW_S, UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(NOW_S)),
        "webhook-signature": Webhook(SECRET).sign("msg_1", at, body.decode()),
    }
    assert signs(headers, body)
    assert not signs(headers, body + b" ")
    assert not signs(headers, bytes([(body or b"a")[0] ^ 1]) + body[1:])
    assert not signs({**headers, "webhook-id": "msg_2"}, body)
    assert not signs({**headers, "webhook-timestamp": str(int(NOW_S) + 1)}, body)


@pytest.mark.parametrize(
    "signature",
    [
        "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,AAAA",
        "nonsense v2,x  v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ],
)
def test_one_of_several_signatures_is_enough(signature: str) -> None:
    assert signs({**VECTOR, "webhook-signature": signature})


def test_while_secrets_rotate_each_of_them_signs_and_one_that_was_taken_away_does_not() -> None:
    assert signs(VECTOR, secrets=(OLD, SECRET))
    assert signs(VECTOR, secrets=(SECRET, OLD))
    assert not signs(VECTOR, secrets=(OLD,))


@pytest.mark.parametrize(("seconds", "fits"), [(300, True), (301, False), (-300, True), (-301, False), (86400, False)])
def test_a_call_is_good_for_five_minutes_around_its_time(seconds: int, *, fits: bool) -> None:
    later = datetime.fromtimestamp(NOW_S, UTC) + timedelta(seconds=seconds)
    assert signs(VECTOR, now=later.timestamp()) is fits


MALFORMED: dict[str, dict[str, str | None]] = {
    "no id": {"webhook-id": None},
    "an empty id": {"webhook-id": ""},
    "a blank id": {"webhook-id": " "},
    "an endless id": {"webhook-id": "m" * 300},
    "an id with a control character": {"webhook-id": "msg\x7f"},
    "no time": {"webhook-timestamp": None},
    "an empty time": {"webhook-timestamp": ""},
    "a time in words": {"webhook-timestamp": "now"},
    "a time with a fraction": {"webhook-timestamp": "1614265330.0"},
    "a time in milliseconds": {"webhook-timestamp": "1614265330000"},
    "an endless time": {"webhook-timestamp": "1" * 5000},
    "a negative time": {"webhook-timestamp": "-1614265330"},
    "digits of another alphabet": {"webhook-timestamp": "١٦١٤٢٦٥٣٣٠".encode().decode("latin-1")},
    "no signature": {"webhook-signature": None},
    "an empty signature": {"webhook-signature": ""},
    "only blanks": {"webhook-signature": "   "},
    "no comma": {"webhook-signature": "v1g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
    "only the version": {"webhook-signature": "v1,"},
    "another version": {"webhook-signature": VECTOR["webhook-signature"].replace("v1,", "v1a,")},
    "no base64": {"webhook-signature": "v1,%%%"},
    "half of it": {"webhook-signature": VECTOR["webhook-signature"][:20]},
    "too much of it": {"webhook-signature": VECTOR["webhook-signature"] + "="},
    "other letters": {"webhook-signature": "v1,grüße"},
    "hexadecimal": {"webhook-signature": "v1," + hmac.new(signing_key(SECRET), BODY, hashlib.sha256).hexdigest()},
    "a thousand wrong ones": {"webhook-signature": "v1,AAAA " * 1000},
    "the right one after a thousand wrong ones": {"webhook-signature": "v1,AAAA " * 1000 + VECTOR["webhook-signature"]},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_signs_nothing_and_raises_nothing_else(name: str) -> None:
    given = {**VECTOR, **MALFORMED[name]}
    assert not signs({key: value for key, value in given.items() if value is not None})


@pytest.mark.parametrize("header", VECTOR)
def test_a_header_that_comes_twice_signs_nothing(header: str) -> None:
    """Somebody between might have looked at the other one."""
    raw = [(key.encode(), value.encode()) for key, value in VECTOR.items()]
    doubled = Headers(raw=[*raw, (header.encode(), VECTOR[header].encode())])
    with pytest.raises(NotSigned):
        verify(doubled, io.BytesIO(BODY), [signing_key(SECRET)], NOW_S)
