"""Addresses of alert channels: whatever in them may open a door is masked, what is a plain word is not."""

import pytest
from workspace import entered

from quantalpha.secrets import mask, masked

TELEGRAM = "tgram://123456789:ABCdefGhIJKlmNoPQRstuVWXyz12345678/12315544/"
DISCORD = "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js"
MAIL = "mailto://quantalpha:pw1%2023456@gmail.com?to=ann@quant.example"
HOOK = "json://127.0.0.1:8080/hook"


@pytest.fixture(autouse=True)
def channels(tmp_path):
    with entered(tmp_path, QUANTALPHA_ALERTS=f"{TELEGRAM} {DISCORD} {MAIL} {HOOK}", QUANTALPHA_API_SECRET="first-value-1"):
        yield


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://api.telegram.org/bot123456789:ABCdefGhIJKlmNoPQRstuVWXyz12345678/send", "https://api.telegram.org/bot***/send"),
        ("token ABCdefGhIJKlmNoPQRstuVWXyz12345678", "token ***"),
        ("webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "webhooks/4174216298/***"),
        ("login with pw1 23456 or pw1%2023456", "login with *** or ***"),
        (f"channels {TELEGRAM} {DISCORD}", "channels *** ***"),
        ("quantalpha at gmail.com and 127.0.0.1:8080", "quantalpha at gmail.com and 127.0.0.1:8080"),
    ],
)
def test_tokens_and_passwords_of_addresses(text, shown):
    assert mask(text) == shown


def test_a_json_value_is_masked_wherever_text_stands():
    value = {"a": ["first-value-1", 5, None], "b": {"c": ("x first-value-1",)}}
    assert masked(value) == {"a": ["***", 5, None], "b": {"c": ["x ***"]}}


def test_other_secrets_are_known_at_once(tmp_path):
    assert mask("second-value-2") == "second-value-2"
    with entered(tmp_path, QUANTALPHA_API_SECRET="second-value-2"):
        assert mask("first-value-1 second-value-2") == "first-value-1 ***"
