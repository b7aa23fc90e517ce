"""People are told, over real sockets; no channel ever delays the engine."""

import logging
import threading

import happened
import pytest
from postbox import PATIENCE, silence, smtp, webhook

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.ops import alerts
from quantalpha.ops.alerts import Alerts, Channel, channels, self_test
from quantalpha.ops.words import message

SETTINGS = config.load().alerts
SOLD = "BTCUSDT: sold 0.5 base at 65,000.1 quote (order); fee 16.250025, realised +12.5 quote"
FLAT = "kill switch daily_loss: the account is verified flat: equity fell (loss 0.061, limit 0.05)"


def told(box, *events, settings=SETTINGS, orders="send"):
    tell = Alerts("s1", settings, orders, channels(box.address))
    for event in events:
        tell.tell(event)
    return tell


def test_a_webhook_and_a_letter_arrive():
    with webhook() as hook, smtp() as post:
        tell = Alerts("s1", SETTINGS, "send", channels(f"{hook.address} {post.address}"))
        tell.tell(happened.tripped())
        posted, letter = hook.next(), post.next()
        tell.close()
    assert (posted["title"], posted["type"]) == ("quantalpha s1: switch", "failure")
    assert posted["message"].startswith("2024-01-01 01:00:00 UTC  kill switch daily_loss: TRIPPED")
    assert "loss 0.061, limit 0.05" in posted["message"]
    assert "Subject: quantalpha s1: switch" in letter and "kill switch daily_loss" in letter and "quant@localhost.example" in letter


def test_a_channel_that_hangs_delays_neither_the_engine_nor_the_others():
    with silence() as dead, webhook() as hook:
        tell = Alerts("s1", SETTINGS.model_copy(update={"per_minute": 10_000}), "send", channels(f"{dead.address} {hook.address}"))
        for n in range(3000):
            tell.tell(happened.filled(n / 1000))
        tell.tell(happened.tripped())
        arrived = hook.next()["message"]
        while "kill switch" not in arrived:
            arrived = hook.next()["message"]
        assert tell.lines[0].thread.is_alive() and tell.lines[0].counts.total() == 0
        assert tell.lines[0].box.dropped["fill"] > 1000
        tell.close(patience=0.2)


class Held(Channel):
    """A channel that hangs until it is let go."""

    def __init__(self):
        super().__init__("1 (Held)", None)
        object.__setattr__(self, "go", threading.Event())
        object.__setattr__(self, "asked", threading.Event())
        object.__setattr__(self, "sent", [])

    def send(self, title, body, level="info"):
        self.asked.set()
        assert self.go.wait(PATIENCE)
        self.sent.append(body)
        return True


def test_a_full_queue_drops_by_rule_and_says_so(monkeypatch):
    monkeypatch.setattr(alerts.Mailbox.__init__, "__defaults__", (10,))
    channel = Held()
    tell = Alerts("s1", SETTINGS.model_copy(update={"per_minute": 1000}), "send", [channel])
    tell.tell(happened.filled(0.5))
    assert channel.asked.wait(PATIENCE)
    for n in range(20):
        tell.tell(happened.filled(1 + n / 100))
    tell.tell(happened.tripped())
    channel.go.set()
    tell.close()
    assert len(channel.sent) == 12 and "kill switch" in channel.sent[1] and channel.sent[2] == "not told, the queue was full: fill x 11"


def test_equal_refusals_are_told_once_and_summed_up_at_the_end():
    with webhook() as hook:
        tell = told(hook, *[happened.refused(hour) for hour in range(5)])
        tell.close()
        first, summary = hook.texts(2)
    assert "refused to buy 0.25 base at about 100 quote: price_collar (price 120, limit 105)" in first
    assert summary.startswith("held back: again: BTCUSDT: refused") and summary.endswith("x 4")


def test_a_channel_that_refuses_is_asked_again_where_it_matters_then_counted_and_logged(monkeypatch, caplog):
    monkeypatch.setattr(alerts, "PAUSE", 0.0)
    with webhook(status=500) as hook, caplog.at_level(logging.WARNING):
        tell = told(hook, happened.tripped(), happened.filled(1))
        attempts = [hook.next()["message"] for _ in range(4)]
        tell.close()
    assert [("kill switch" in text) for text in attempts] == [True, True, True, False]
    assert tell.lines[0].counts == {"failed": 4} and "channel 1 (JSON) took no switch; 3 failures so far" in caplog.text


def test_a_plugin_that_breaks_does_not_end_its_thread(caplog):
    class Broken:
        def notify(self, **_):
            raise RuntimeError("a bug of the plugin")

    tell = Alerts("s1", SETTINGS, "send", [Channel("1 (Broken)", Broken())])
    tell.tell(happened.filled(1))
    tell.tell(happened.filled(2))
    tell.close()
    assert tell.lines[0].counts["failed"] == 2 and "a bug of the plugin" in caplog.text


def test_only_what_was_asked_for_is_told():
    with webhook() as hook:
        tell = told(hook, happened.filled(1), happened.said("start", "paper"), settings=SETTINGS.model_copy(update={"tell": ["session"]}))
        tell.close()
        assert hook.texts(1)[0].endswith("session start: paper") and hook.mail.empty()


@pytest.mark.parametrize(
    ("event", "orders", "topic", "text"),
    [
        (happened.filled(1, -0.5, 65_000.1, 12.5), "send", "fill", SOLD),
        (happened.order(), "signal", "signal", "BTCUSDT: buy 0.25 base at about 100 quote; signal only, nothing is sent"),
        (happened.order(), "approve", "signal", "BTCUSDT: buy 0.25 base at about 100 quote; waits for `quantalpha approve qa-1`"),
        (happened.updated("in_doubt", "no answer"), "send", "error", "BTCUSDT: order qa-1 is in doubt: no answer"),
        (happened.said("stop", "Halted: no news"), "send", "error", "session stop: Halted: no news"),
        (happened.said("stop", "interrupted"), "send", "session", "session stop: interrupted"),
        (happened.tripped(phase="flat"), "send", "switch", FLAT),
    ],
)  # fmt: skip
def test_words_are_short_and_exact(event, orders, topic, text):
    said = message(event, orders)
    assert (said.topic, said.text) == (topic, text)


@pytest.mark.parametrize(
    "event",
    [happened.closed(1), happened.equity(1, 1.0), happened.updated("open"), happened.refused(reason="signal_only"), happened.opened(1)],
)
def test_what_nobody_need_know_is_not_told(event):
    assert message(event, "signal") is None


def test_what_is_told_twice_has_the_same_key_and_different_fills_have_not():
    assert message(happened.refused(1)).key == message(happened.refused(9)).key
    assert message(happened.filled(1)).key != message(happened.filled(2)).key


def test_an_address_that_is_none_is_named_by_its_place_only():
    with pytest.raises(UsageError, match="address 2 .nonsense.") as refused:
        channels("json://127.0.0.1:1/x nonsense://secret-token-1234")
    assert "secret-token" not in str(refused.value)
    assert channels("  ") == []


def test_a_self_test_says_which_channel_took_it():
    with webhook() as hook, webhook(status=403) as closed:
        rows = self_test(channels(f"{hook.address} {closed.address}"))
        assert hook.next()["title"] == "quantalpha: self-test"
    assert [(row["channel"], row["arrived"]) for row in rows] == [("1 (JSON)", True), ("2 (JSON)", False)]
    assert "403" in rows[1]["said"]
