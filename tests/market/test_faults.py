"""Each thing a venue can do wrong, met on the way: the lake ends as if it had not, or the error says so and the next run completes it."""

import asyncio

import pytest
from collecting import contents, data, fetch, minutes, undisturbed, venue
from hypothesis import given
from hypothesis import strategies as st

from quantalpha.config import FAULTS
from quantalpha.errors import ExchangeError, UsageError
from quantalpha.market.download import verify
from quantalpha.market.exchange import Retry
from quantalpha.market.store import Lake
from quantalpha.practice import Faults
from quantalpha.practice.background import played

SILENT = ("changed",)  # nobody can know at once that a candle will be corrected
WANTED = data("2024-01-20", None, timeframe="1m", kinds=["bars", "funding"])
QUICK = Retry(base=0.01)


@pytest.fixture(scope="module")
def tape():
    return minutes(3_000)


@pytest.fixture(scope="module")
def whole(tape, tmp_path_factory):
    return undisturbed(tape, WANTED, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in SILENT])
def test_a_fault_now_and_then_leaves_no_trace(tape, whole, tmp_path, fault):
    """From the list of markets to the last page; two in a row of the same request."""
    faults = Faults(plan=dict.fromkeys([0, 3, 5, 6, 8, 11], fault), seconds=0.05)
    with played(tape, speed=0.0, now=tape.end, faults=faults) as server:
        fetch(venue(server, timeout=0.5), WANTED, tmp_path, QUICK)
    assert faults.met[fault] >= 5
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("fault", ["http_503", "http_429", "malformed", "truncated", "disconnect", "hang"])
def test_a_fault_that_stays_is_an_exchange_error_and_the_next_run_completes(tape, whole, tmp_path, fault):
    faults = Faults(plan=dict.fromkeys(range(6, 200), fault), seconds=0.01)
    with played(tape, speed=0.0, now=tape.end, faults=faults) as server:
        with pytest.raises(ExchangeError, match="no usable answer for BTCUSDT"):
            fetch(venue(server, timeout=0.2), WANTED, tmp_path, Retry(attempts=3, base=0.01))
        faults.plan.clear()
        fetch(venue(server), WANTED, tmp_path)
    assert contents(tmp_path) == whole


def test_a_candle_given_wrongly_is_found_by_the_next_page_or_by_verify(tape, whole, tmp_path):
    faults = Faults(plan=dict.fromkeys(range(200), "changed"))
    with played(tape, speed=0.0, now=tape.end, faults=faults) as server:
        fetch(venue(server), WANTED, tmp_path)
        lake, name = Lake(tmp_path), "practice/BTCUSDT/1m/2024-01.parquet"
        assert contents(tmp_path)[name] != whole[name]
        faults.plan.clear()
        found = asyncio.run(verify(venue(server), WANTED, lake))
    assert found.set_index("kind")["revised"]["1m"] == 1, "of all pages only the last one's last candle had not been given again"
    assert contents(tmp_path)[name] == whole[name]


@given(chance=st.floats(0.0, 0.9), seed=st.integers(0, 2**31 - 1))
def test_the_schedule_depends_on_the_seed_alone(chance, seed):
    one, other = (Faults({"hang": chance / 2, "empty": chance / 2}, seed=seed) for _ in range(2))
    drawn = [one.draw() for _ in range(50)]
    assert drawn == [other.draw() for _ in range(50)]
    assert one.met.total() == sum(fault is not None for fault in drawn)


def test_a_chance_is_met_as_often_as_it_says():
    faults = Faults({"empty": 0.2, "delay": 0.3}, seed=1)
    for _ in range(3_000):
        faults.draw()
    assert abs(faults.met["empty"] - 600) < 100 and abs(faults.met["delay"] - 900) < 120


@pytest.mark.parametrize(
    ("given", "says"),
    [({"chance": {"hung": 0.1}}, "did you mean 'hang'"), ({"chance": {"hang": 0.6, "empty": 0.5}}, "add up to 1 at most")],
)
def test_a_schedule_that_makes_no_sense_is_refused(given, says):
    with pytest.raises(UsageError, match=says):
        Faults(**given)
