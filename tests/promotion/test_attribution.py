"""Every injected cause is named, with its money; what nobody put in is exactly nothing; what nobody can know is left unexplained."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from perturbed import INJECTIONS, PROTECTIVE, Kit, inject, play

from quantalpha.backtest import simulate
from quantalpha.perp import Slippage, Stops
from quantalpha.promotion import attribute, counterfactual, order_table
from quantalpha.promotion.counterfactual import (
    DATA,
    FEATURES,
    FEE,
    FUNDING,
    MISSED,
    MODEL,
    PRICE,
    PROTECTION,
    TIMING,
    UNEXPLAINED,
    VETOES,
    Decision,
)
from quantalpha.schema import epoch_ms

CAUSES = [DATA, MISSED, MODEL, FEATURES, VETOES, PROTECTION, TIMING, PRICE, FEE, FUNDING, UNEXPLAINED]
STOPS = Stops(stop_loss=0.015, take_profit=0.03)
UNSTOPPED = Stops(take_profit=0.03)


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    return Kit(tmp_path_factory.mktemp("bundles"))


def attributed(case, **changes):
    recorded, reviewed = play(case)
    ran = [case.sealed] if case.sealed.id != case.expected.id else []
    return attribute(case.expected, recorded, reviewed, **{"bars_now": case.now, "ran": ran} | changes)


def money(found):
    return {part.cause: part.money for part in found.parts if abs(part.money) > 1e-9}


def last(case):
    return float(play(case)[0].equity["equity"].iloc[-1])


@pytest.mark.parametrize("stops", [None, STOPS, Stops(trailing_stop=0.02, max_bars=30)], ids=["no stops", "stops", "trailing"])
def test_of_an_honest_session_every_line_is_nothing(kit, stops):
    found = attributed(kit.honest(300, 250, stops))
    assert found.agrees and found.largest is None and found.unexplained == 0.0 and found.correlation == pytest.approx(1.0)
    assert [part.cause for part in found.parts] == CAUSES and max(abs(part.money) for part in found.parts) <= 1e-9
    assert found.gap == 0.0 and found.books == pytest.approx(0.0, abs=1e-9)
    assert [part.touched for part in found.parts] == [0] * len(CAUSES)


@pytest.mark.parametrize("name", INJECTIONS)
@pytest.mark.parametrize("stops", [None, STOPS], ids=["no stops", "stops"])
def test_a_cause_alone_is_named_with_all_its_money(kit, name, stops):
    honest = kit.honest(400, 300, UNSTOPPED if name == PROTECTIVE and stops else stops)
    case = next(case for case in (inject(name, honest, seed=seed, other=kit.other) for seed in range(9)) if last(case) != last(honest))
    found, truth = attributed(case), last(case) - last(honest)
    assert money(found) == {INJECTIONS[name][0]: pytest.approx(truth, abs=1e-6)}
    part = next(part for part in found.parts if part.cause == INJECTIONS[name][0])
    assert part.touched > 0 and pd.Timestamp(part.first["time"]).tz is not None and part.first["what"]


@pytest.mark.parametrize("paid", [0.003, -0.0004])
def test_what_the_displayed_book_cost_is_the_fill_price(kit, paid):
    honest = kit.honest(400, 300, STOPS)
    case = replace(honest, walk=paid)
    found = attributed(case)
    assert money(found) == {PRICE: pytest.approx(last(case) - last(honest), abs=1e-6)} and found.largest == PRICE
    assert found.parts[CAUSES.index(PRICE)].touched == (play(case)[0].fills["reason"] == "order").sum() > 5


def test_all_at_once_they_add_up_to_the_gap(kit):
    case = kit.honest(400, 300, UNSTOPPED)
    for number, name in enumerate(INJECTIONS):
        case = inject(name, case, seed=number, other=kit.other)
    found = attributed(case)
    assert sum(part.money for part in found.parts) == pytest.approx(found.gap, abs=1e-8) and found.gap != 0.0
    assert found.unexplained < 0.01 and found.books == pytest.approx(0.0, abs=1e-6)
    assert {part.cause for part in found.parts if part.touched} == set(CAUSES) - {UNEXPLAINED}
    backwards = attributed(case, order=["fee", "fill price", "data revision"])  # causes left out are not explained
    assert abs(backwards.parts[-1].money) > 0.1
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["gap"] == found.gap and len(told["parts"]) == 11 and sum(row["share"] for row in found.rows()) == pytest.approx(1.0)


def test_books_that_say_other_than_the_fills_are_unexplained(kit):
    case = kit.honest(400, 200)
    recorded, reviewed = play(case)
    equity = recorded.equity.copy()
    equity.iloc[-1, equity.columns.get_loc("equity")] += 12.5
    found = attribute(case.expected, replace(recorded, equity=equity), reviewed, bars_now=case.now)
    assert money(found) == {UNEXPLAINED: pytest.approx(12.5)} and found.books == pytest.approx(12.5)
    assert found.largest == UNEXPLAINED and found.unexplained == 1.0


def test_a_fill_that_nobody_ordered_is_unexplained(kit):
    case = kit.honest(400, 200)
    recorded, reviewed = play(case)
    times, price = recorded.equity.index[[100, 120]], 30_000.0
    bought = pd.DataFrame({"time": times, "quantity": [1.0, -1.0], "price": [price, price + 50.0], "fee": 0.0, "realised": 0.0})
    fills = pd.concat([recorded.fills, bought.assign(reason="external")]).sort_values("time", ignore_index=True)
    strange = bought.assign(bar=epoch_ms(pd.DatetimeIndex(times)), reason="external", held=[0.0, 1.0])
    equity = recorded.equity.assign(equity=recorded.equity["equity"] + 50.0)
    changed = replace(recorded, fills=fills, equity=equity), replace(reviewed, forced=strange[reviewed.forced.columns])
    found = attribute(case.expected, *changed, bars_now=case.now)
    assert money(found) == {UNEXPLAINED: pytest.approx(50.0)}


def test_without_the_bars_of_today_neither_revised_nor_missed_ones_are_seen(kit):
    case = inject("revised candle", kit.honest(400, 300), seed=3, other=kit.other)
    found = attributed(case, bars_now=None)
    assert not found.asked and money(found) == {}


def test_a_model_that_is_not_at_hand_is_still_named(kit):
    case = inject("other model", kit.honest(400, 300), seed=0, other=kit.other)
    found = attributed(case, ran=[])
    assert found.largest == MODEL and found.unexplained < 1e-9


def test_the_same_features_and_another_edge_are_the_model(kit):
    """Another library, say: the journal's fingerprints are what the features give, its edges are not what the model gives."""
    case = inject("feature drift", kit.honest(400, 300), seed=3, other=kit.other)
    recorded, reviewed = play(case)
    honest = play(kit.honest(400, 300))[1].signals["features"]
    found = attribute(case.expected, recorded, replace(reviewed, signals=reviewed.signals.assign(features=honest)), bars_now=case.now)
    assert set(money(found)) == {MODEL}


def test_at_a_venue_a_missed_bar_is_a_decision_missed_not_a_market(kit):
    """The account lives on through bars that the session never heard of."""
    case = kit.honest(400, 300)
    gone = case.bars.index[-40:-30]
    recorded, reviewed = play(replace(case, bars=case.bars.drop(gone)))
    lost = money(attribute(case.expected, recorded, reviewed, bars_now=case.now, venue=True))
    on_paper = money(attribute(case.expected, recorded, reviewed, bars_now=case.now))
    assert set(on_paper) == {MISSED} and set(lost) <= {MISSED, FUNDING, TIMING, PRICE}


@pytest.mark.parametrize("slippage", [0.0002, Slippage(half_spread=0.0001)], ids=["fixed", "by size"])
def test_with_no_cause_the_account_is_the_backtests_to_the_bit(kit, slippage):
    bundle = replace(kit.bundle, costs=replace(kit.bundle.costs, slippage=slippage, delay=1), stops=STOPS)
    bars, rng = kit.tape.iloc[:400], np.random.default_rng(0)
    target = pd.Series(rng.choice([-1.0, 0.0, 1.0], 300), index=bars.index[100:])
    decisions = {time: Decision(0.0, bundle.policy, (before, now)) for time, before, now in previous(target)}
    world = counterfactual.World(bars, decisions, bundle, counterfactual.Session(), frozenset())
    expected = simulate(bars, target, account=bundle.account, costs=bundle.costs, stops=bundle.stops).equity.iloc[100:]
    pd.testing.assert_series_equal(counterfactual.equity(world), expected, check_exact=True, check_freq=False)


def previous(target):
    return zip(epoch_ms(target.index).tolist(), target.shift(fill_value=0.0).tolist(), target.tolist())


def test_the_order_table_tells_what_was_expected(kit):
    honest = kit.honest(400, 300)
    table = order_table(kit.bundle, *play(honest))
    assert len(table) > 5 and table["delay"].isna().all() and (table["wait"] == 0).all()
    assert np.allclose(table["slippage"], table["expected_slippage"], atol=1e-12) and np.allclose(table["fee"], table["expected_fee"])
    late = order_table(kit.bundle, *play(replace(honest, delays=dict.fromkeys(epoch_ms(table.index).tolist(), 0.5))))
    assert (late["delay"] == 0.5 * 3_600_000).all() and late["timing"].abs().max() > 1e-5 and (late["late"] == 0.0).all()
