"""The pre-live list: every line holds in a sound case, and each fault is named by its own line."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trading_accounts import KEYS, NAMES, account_at

from quantalpha import config
from quantalpha.errors import GateRefused
from quantalpha.market.trading import Permissions, Settings, open_trading
from quantalpha.practice.keys import KEY, SECRET, ApiKey
from quantalpha.runner.prelive import Case, House, Past, VenueWord, ask_venue, lines, permitted, require

RUNNER = config.load().runner
LADDER = RUNNER.ladder  # 100 at once, 500 after 7 days, 2000 after 14, 10000 after 30
BUNDLE = "a" * 64
GATE = {"passed": True, "lines": [{"name": name, "passed": True} for name in ("net_result", "real_data", "paper_days", "paper_agrees")]}
SETTINGS = Settings(5.0, "cross", one_way=True)
WORD = VenueWord(1_000.0, 0.01, Permissions(True, False), {"BTCUSDT": SETTINGS})


@pytest.fixture
def case(tmp_path) -> Case:
    house = House(tmp_path, None, True, True, 3.0, True)
    return Case({BUNDLE: GATE}, 100.0, 5.0, "cross", RUNNER, (), WORD, house)


def test_two_venues_have_half_the_capital_each(case):
    half = replace(WORD, cash=50.0)
    require(lines(replace(case, venue=half, second=half)))


def failing(case: Case) -> list[str]:
    return [line.name for line in lines(case) if not line.passed]


def test_a_sound_case_passes(case):
    require(lines(case))


def house(**changes):
    return lambda case: replace(case, house=replace(case.house, **changes))


def word(**changes):
    return lambda case: replace(case, venue=replace(case.venue, **changes))


def setting(**changes):
    return word(settings={"BTCUSDT": replace(SETTINGS, **changes)})


def gate(*names, **changes):
    told = {"passed": True, "lines": [{"name": name, "passed": True} for name in names]} | changes
    return lambda case: replace(case, gates={BUNDLE: told})


def other(**changes):
    return lambda case: replace(case, second=replace(WORD, **changes))


FAULTS = {
    "gate of aaaaaaaaaaaa": [
        gate("net_result"),
        gate("real_data", "paper_days", "paper_agrees", passed=False),
        gate("paper_days", "paper_agrees"),
        gate(),
    ],  # fmt: skip
    "BTCUSDT: assets": [setting(one_asset=False)],
    "capital ladder": [lambda case: replace(case, capital=101.0), lambda case: replace(case, past=(), capital=600.0)],
    "balance": [word(cash=99.0), word(cash=float("nan"))],
    "second venue: balance": [other(cash=49.0)],
    "second venue: key: withdrawals": [other(permissions=Permissions(True, True)), other(permissions=Permissions(True, None))],
    "second venue: clock": [other(skew=float("nan"))],
    "key: withdrawals": [word(permissions=Permissions(True, True)), word(permissions=Permissions(True, None))],
    "key: trading": [word(permissions=Permissions(False, False)), word(permissions=Permissions(None, False))],
    "clock": [word(skew=0.6), word(skew=-0.6), word(skew=float("nan"))],
    "BTCUSDT: positions": [setting(one_way=False)],
    "BTCUSDT: leverage": [setting(leverage=20.0)],
    "BTCUSDT: margin": [setting(margin_mode="isolated")],
    "latch": [house(latched="drawdown: 21 %")],
    "watchdog": [house(watchdog=False)],
    "dead man's switch": [lambda case: replace(case, runner=RUNNER.model_copy(update={"dead_man": 1.0}))],
    "alerts": [house(alerts=False)],
    "drill": [house(drill_days=None), house(drill_days=31.0), house(drill_days=float("nan"))],
    "libraries": [house(same_libraries=False)],
}


@pytest.mark.parametrize(("name", "change"), [(name, change) for name, changes in FAULTS.items() for change in changes])
def test_each_fault_is_named_by_its_line(case, name, change):
    changed = change(case)
    assert failing(changed) == [name]
    with pytest.raises(GateRefused, match=name.split(":")[0]):
        require(lines(changed))


def test_a_folder_that_is_not_there_has_no_room_and_no_journal(case, tmp_path):
    assert failing(house(folder=tmp_path / "gone")(case)) == ["disk", "journal"]


def test_no_bundle_and_no_line_pass_nothing(case):
    assert "gate" in failing(replace(case, gates={}))
    with pytest.raises(GateRefused, match="nothing"):
        require([])


@pytest.mark.parametrize(
    ("capital", "past", "passes"),
    [
        (100.0, [], True),
        (500.0, [Past(100.0, 7.0, False)], True),
        (500.0, [Past(100.0, 6.9, False)], False),
        (500.0, [Past(100.0, 20.0, False), Past(100.0, 1.0, True)], False),
        (500.0, [Past(100.0, 20.0, True), Past(100.0, 7.5, False)], True),
        (2000.0, [Past(100.0, 50.0, False)], False),  # on the rung below the one below
        (2000.0, [Past(300.0, 10.0, False), Past(500.0, 4.0, False)], True),
        (10_001.0, [Past(10_000.0, 99.0, False)], False),
        (0.0, [], False),
        (float("nan"), [], False),
    ],
)
def test_capital_climbs_one_rung_at_a_time(capital, past, passes):
    rung, needed, traded = permitted(capital, LADDER, past)
    assert (rung is not None and traded >= needed) == passes


@given(st.floats(1.0, 10_000.0), st.lists(st.builds(Past, st.floats(1.0, 10_000.0), st.floats(0.0, 40.0), st.booleans()), max_size=8))
def test_a_kill_switch_never_helps(capital, past):
    """More money is never permitted because a session was stopped."""
    rung, needed, traded = permitted(capital, LADDER, past)
    assert permitted(capital, LADDER, [*past, Past(10_000.0, 40.0, True)])[2] <= traded


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("withdraws", [False, True])
def test_the_venue_is_asked(name, withdraws):
    async def asked():
        async with open_trading(venue, KEYS) as trading:
            return await ask_venue(trading, ["BTCUSDT"])

    with account_at(name, keys=[ApiKey(KEY, SECRET, 750.0, withdraws)]) as (_, venue):
        told = asyncio.run(asked())
    assert told.cash == 750.0
    assert told.permissions == Permissions(True, withdraws)
    assert told.settings["BTCUSDT"].one_way
