"""What an account has lost outlasts the session that lost it: day, peak and losses in a row; a reset begins anew what it judged."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from quantalpha import config
from quantalpha.errors import DataError, Halted
from quantalpha.market.trading import AccountReport
from quantalpha.runner import carried, switches
from quantalpha.runner.accounts import AccountFolder
from quantalpha.runner.carried import FILE, Losses, before
from quantalpha.runner.events import ON_STOP, EquityEvent, FillEvent, SessionEvent, SwitchEvent
from quantalpha.runner.judge import Judge, Seen
from quantalpha.runner.session import Session
from quantalpha.runner.views import AccountView, Position

DAY, HOUR, BTC = 86_400_000, 3_600_000, "BTCUSDT"
NOON = 100 * DAY + 12 * HOUR
LIMITS = config.load().switches.model_copy(update={"volatility": 1e9})


class Account:
    """Sessions of one account, as an engine and its switches see them."""

    def __init__(self, root, name="live-binanceusdm"):
        self.folder = AccountFolder(name, root)

    def session(self, name, *path, capital=100.0, hold=None):
        """One that sees (equity, time) in a row; the names of what tripped."""
        every = switches.of(LIMITS, "paper", None, {})
        self.tripped, self.view = [], AccountView(capital, cash=capital)
        engine = SimpleNamespace(observers=[], gates=SimpleNamespace(switches=every), clock=lambda: 0, view=lambda: self.view)

        def see(event, value=capital):
            held = {} if hold is None else {BTC: Position(hold, 1.0, 1.0)}
            self.view = AccountView(value, held, capital, event.event_time)
            self.tripped += [trip.name for trip in [every.see(self.view, event)] if trip is not None]
            for observe in engine.observers:
                observe(event)

        start = path[0][1] if isinstance(path[0], tuple) else NOON
        losses = Losses([self.folder], name, engine)
        for event in losses.earlier(start):
            see(replace(event, event_time=start))
        for each in path:
            event = each if not isinstance(each, tuple) else EquityEvent(**at(each[1]), bar=0, equity=0, cash=0, quantity=0, price=1)
            see(event, each[0] if isinstance(each, tuple) else self.view.equity)
        losses.keep()
        return self.tripped


def at(time=NOON):
    return {"event_time": time, "recv_time": time, "symbol": BTC}


def trade(result):
    fill = {"bar": 0, "client_id": "qa-1", "price": 1.0, "fee": 0.0, "reason": "order"}
    return [FillEvent(**at(), **fill, quantity=1.0, realised=0.0), FillEvent(**at(), **fill, quantity=-1.0, realised=result)]


@pytest.fixture
def account(tmp_path):
    return Account(tmp_path)


def reset(account, name):
    account.folder.latch.set(name, "lost")
    account.folder.latch.reset("looked into it")


def test_four_sessions_cannot_lose_more_of_a_day_than_one(account):
    assert account.session("a", (100.0, NOON), (95.1, NOON)) == []
    assert account.session("b", (100.0, NOON + HOUR), (99.0, NOON + HOUR)) == ["daily_loss"]


def test_a_new_day_begins_with_what_is_left(account):
    account.session("a", (100.0, NOON), (95.1, NOON))
    assert account.session("b", (100.0, NOON + DAY), (95.1, NOON + DAY)) == []


@pytest.mark.parametrize("capital", [1.0, 1e6])
def test_what_is_carried_is_a_share(account, capital):
    account.session("a", (100.0, NOON), (97.0, NOON))
    assert account.session("b", (0.981 * capital, NOON), capital=capital) == []
    assert account.session("c", (0.995 * capital, NOON), capital=capital) == ["daily_loss"]


def test_the_highest_equity_is_the_accounts(account):
    for day in range(5):
        tripped = account.session(str(day), (100.0, NOON + day * DAY), (95.5, NOON + day * DAY))
    assert tripped == ["drawdown"]


def test_losses_in_a_row_go_on(account):
    assert account.session("a", *trade(-0.1), *trade(-0.1), *trade(-0.1)) == []
    assert account.session("b", *trade(-0.1), *trade(-0.1)) == ["consecutive_losses"]


def test_a_position_that_is_taken_over_is_not_lost_twice(account):
    """Its open loss was in the last equity and is in the next; the wallet is the same."""
    account.session("a", (100.0, NOON), (96.0, NOON), hold=1.0)
    assert account.session("b", (96.0, NOON), hold=1.0) == []


def test_a_session_that_goes_on_is_told_by_its_own_journal(account):
    account.session("a", (100.0, NOON), (95.5, NOON))
    assert before(account.folder, NOON, but="a") is None and before(account.folder, NOON) is not None


@pytest.mark.parametrize("name, tripped", [("drawdown", ["daily_loss"]), ("daily_loss", []), ("watchdog:daily_loss", [])])
def test_a_reset_begins_anew_what_a_person_has_judged(account, name, tripped):
    account.session("a", (100.0, NOON), (95.5, NOON))
    reset(account, name)
    found = before(account.folder, NOON)
    assert (found.peak, found.losses) == (0.0, 0)
    assert account.session("b", (99.0, NOON)) == tripped


def test_an_account_that_had_lost_everything_trades_again_after_a_reset(account):
    account.session("a", (100.0, NOON), (-2.0, NOON))
    reset(account, "drawdown")
    assert account.session("b", (100.0, NOON + DAY)) == []


def test_a_session_that_refuses_a_damaged_record_leaves_it_as_it_is(account):
    account.session("a", (100.0, NOON), (95.1, NOON))
    (account.folder.path / FILE).write_text("{")
    engine = SimpleNamespace(observers=[], gates=None, clock=lambda: 0, view=None)
    session = SimpleNamespace(accounts=[(account.folder, {})], folder=account.folder.path, engine=engine, _losses=None)
    with pytest.raises(DataError):
        Session.carry(session, NOON)
    assert session._losses is None  # which would be written with the session's last word


def test_a_reset_before_the_loss_forgives_nothing(account):
    reset(account, "drawdown")
    account.session("a", (100.0, NOON), (95.5, NOON))
    assert before(account.folder, NOON).peak == 100.0


@pytest.mark.parametrize("name, day, peak", [("kill", 100.0, 96.0), ("daily_loss", 96.0, 96.0), (ON_STOP, 100.0, 100.0)])
def test_a_reset_within_a_session_begins_the_same_anew(name, day, peak):
    every = switches.of(LIMITS, "live", None, {})
    for value, event in ((100.0, "start"), (96.0, "reset"), (96.0, "resume")):
        words = {"phase": event, "reason": ""}
        event = SwitchEvent(**at(), name=name, **words) if event == "reset" else SessionEvent(**at(), **words)
        every.see(AccountView(value, time=NOON), event)
    assert every.carry() == {"day": 100, "base": day, "peak": peak, "losses": 0}


def test_the_watchdog_counts_on_too(account):
    account.session("a", (100.0, NOON), (95.5, NOON))
    judge, seen = Judge(LIMITS, 30.0, 0.0, 1000.0), Seen(NOON, AccountReport(5000.0, 5000.0, {}), [])
    judge.carry(seen, before(account.folder, NOON))
    assert judge._loss(seen) == []
    lost = replace(seen, account=AccountReport(4990.0, 4990.0, {}))
    assert [name for name, _ in judge._loss(lost)] == ["daily_loss"]


def test_a_rehearsal_on_a_tape_put_back_has_other_money(tmp_path):
    for name, kept in (("rehearse-practice", False), ("live-binanceusdm", True)):
        account = Account(tmp_path, name)
        account.session("a", (100.0, NOON), (95.5, NOON))
        assert (before(account.folder, NOON - HOUR) is not None) == kept


def test_an_account_without_a_record_begins_anew(account):
    assert before(account.folder, NOON) is None


@pytest.mark.parametrize(
    "change", [lambda r: "", lambda r: "[]", lambda r: json.dumps(r)[:50], lambda r: json.dumps(r | {"resets": "x"}),
               lambda r: json.dumps(r | {"carried": r["carried"] | {"base": float("nan")}}),
               lambda r: json.dumps(r | {"carried": r["carried"] | {"peak": "much"}}), lambda r: json.dumps(r | {"carried": {}})],
)  # fmt: skip
def test_a_damaged_record_lets_nobody_trade(account, change):
    account.session("a", (100.0, NOON))
    path = account.folder.path / FILE
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(DataError, match=FILE):
        account.session("b", (100.0, NOON))


def test_an_unknown_loss_leaves_what_was_known(account):
    account.session("a", (100.0, NOON), (95.5, NOON))
    known = before(account.folder, NOON)
    account.session("b", (float("nan"), NOON))
    assert before(account.folder, NOON) == known


def test_what_cannot_be_kept_ends_the_session(account, monkeypatch):
    def full(path, data):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(carried, "write_atomic", full)
    with pytest.raises(Halted, match="no space left"):
        account.session("a", (100.0, NOON))
