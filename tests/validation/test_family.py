"""Which tries a chosen one competed with."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError
from quantalpha.validation import Trials, Try, family

STUDY = "venue-BTCUSDT-1h"
DAYS = pd.date_range("2024-01-01", periods=100, tz="UTC")


def tried(name, days=DAYS, *, data="bars", seed=0, study=STUDY, context=None, **more):
    returns = None if days is None else pd.Series(np.random.default_rng(seed).normal(0, 0.01, len(days)), days)
    return Try(data, "lgbm", {"name": name}, "code", {"sharpe": 1.0}, study=study, context=context or {}, returns=returns, **more)


@pytest.fixture
def trials(tmp_path):
    return Trials(tmp_path / "mlruns" / "trials.db")


def of(chosen, trials):
    return family(chosen, trials)


def test_all_that_were_scored_on_its_days_compete(trials):
    chosen, rival, stranger = tried("chosen"), tried("rival", seed=1), tried("stranger", study="venue-ETHUSDT-1h")
    trials.record([chosen, rival, stranger])
    found = of(chosen, trials)
    assert set(found.returns) == {chosen.key, rival.key} and found.returns.index.equals(DAYS)
    np.testing.assert_array_equal(found.returns[rival.key], rival.returns)
    assert (found.chosen, found.unseen) == (chosen.key, 0)


def test_days_that_one_lacks_are_left_out_for_all_and_too_many_make_a_try_unseen(trials):
    chosen, older = tried("chosen"), tried("older", DAYS[:60], data="old", seed=1)
    little, silent = tried("little", DAYS[70:], data="old", seed=2), tried("silent", None)
    other = tried("other", DAYS - pd.Timedelta("200d"))
    trials.record([chosen, older, little, silent, other])
    found = of(chosen, trials)
    assert set(found.returns) == {chosen.key, older.key} and found.returns.index.equals(DAYS[:60])
    assert found.unseen == 2


def test_an_idea_continued_on_newer_bars_is_no_new_one(trials):
    chosen = tried("chosen")
    weekly = [tried("chosen", DAYS[: 30 + 7 * week], data=f"week {week}", seed=week) for week in range(8)]
    other = [tried("other", DAYS[: 60 + 20 * k], data=f"month {k}", seed=20 + k) for k in range(3)]
    trials.record([*weekly, *other, chosen])
    found = of(chosen, trials)
    assert set(found.returns) == {chosen.key, other[2].key} and found.unseen == 0


def test_another_begin_or_other_bars_of_the_same_days_are_tries_of_their_own(trials):
    """What changes data.start or how bars are cleaned until the result pleases has tried as often."""
    chosen = tried("chosen")
    moved = [tried("chosen", DAYS[k:], data=f"from {k}", seed=k) for k in range(1, 20)]
    cleaned = [tried("chosen", data=f"cleaned {k}", seed=50 + k) for k in range(5)]
    trials.record([chosen, *moved, *cleaned])
    assert of(chosen, trials).returns.shape == (81, 25)


def test_a_change_that_no_parameter_tells_is_an_idea_of_its_own(trials):
    chosen, by_hand = tried("chosen", terms="forecasts"), tried("chosen", seed=1, terms="other forecasts")
    trials.record([chosen, by_hand])
    assert set(of(chosen, trials).returns) == {chosen.key, by_hand.key}


def test_what_was_tried_in_training_is_judged_elsewhere_and_hides_nothing(trials):
    chosen, rival = tried("chosen"), tried("trial 0", seed=9)
    trials.record([chosen, *(tried(f"trial {k}", DAYS, seed=k, context={"role": "train", "fold": 0}) for k in range(5)), rival])
    found = of(chosen, trials)
    assert found.unseen == 0 and set(found.returns) == {chosen.key, rival.key}


def test_a_forecast_counts_once_and_until_it_is_traded(trials):
    chosen, forecast = tried("chosen", terms="a"), {"context": {"role": "forecast"}}
    left = [tried("left", None, terms="b", data="table", seed=k, **forecast) for k in range(1)]
    again = tried("left under newer code", None, terms="b", data="table", **forecast)
    trials.record([chosen, *left, again, tried("same", None, terms="a", data="table", **forecast)])
    assert of(chosen, trials).unseen == 1


def test_a_ledger_that_tells_other_returns_is_not_believed(trials):
    planted = tried("chosen", seed=7)
    trials.record(planted)
    with pytest.raises(DataError, match="the ledger was altered"):
        of(tried("chosen"), trials)


def test_one_without_returns_is_refused(trials):
    silent = tried("silent", None)
    trials.record(silent)
    for one in (tried("silent"), tried("never made")):
        with pytest.raises(DataError, match="has no returns"):
            of(one, trials)


def test_one_that_was_made_under_another_name_competes_under_both(trials):
    """The same bars, parameters and code are the same try, whatever the market is called the second time."""
    first, rivals = tried("chosen", study="old name"), [tried("a", seed=1, study="old name"), tried("b", seed=2)]
    trials.record([first, *rivals])
    trials.record(tried("chosen"))
    assert trials.count() == 3
    assert set(of(tried("chosen"), trials).returns) == {first.key, *(one.key for one in rivals)}
