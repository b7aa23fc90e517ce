"""Spaces of parameters, and the sets that a search tries in them."""

from itertools import pairwise

import numpy as np
import optuna
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.backtest.search import Search, evaluate
from quantalpha.backtest.space import check_space, from_unit, grid, to_unit
from quantalpha.errors import UsageError

SPACE = {"fast": (5, 50, "int"), "width": (0.5, 2.5, "float"), "risk": (0.01, 1.0, "log")}
BOUNDS = st.one_of(
    st.tuples(st.integers(-50, 50), st.integers(0, 60)).map(lambda b: (b[0], b[0] + b[1], "int")),
    st.tuples(st.floats(-5, 5), st.floats(0, 5)).map(lambda b: (b[0], b[0] + b[1], "float")),
    st.tuples(st.floats(0.001, 5), st.floats(1, 100)).map(lambda b: (b[0], b[0] * b[1], "log")),
)


def hill(params):
    """Highest, at 0, for fast 20, width 1, risk 0.1."""
    return -(((params["fast"] - 20) / 45) ** 2) - ((params["width"] - 1) / 2) ** 2 - (np.log10(params["risk"] / 0.1) / 2) ** 2


def inside(params, space):
    return all(low <= params[name] <= high for name, (low, high, _) in space.items())


@settings(deadline=None)
@given(BOUNDS, st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_unit_coordinates_go_there_and_back(bounds, unit):
    values = from_unit(bounds, np.array(unit))
    assert all(bounds[0] <= value <= bounds[1] for value in values)
    back = to_unit({"x": bounds}, pd.DataFrame({"x": values}))[:, 0]
    assert ((back >= -1e-9) & (back <= 1 + 1e-9)).all()
    if bounds[2] != "int" and bounds[1] - bounds[0] > 1e-3:
        np.testing.assert_allclose(back, unit, atol=1e-6)
    assert from_unit(bounds, np.array([0.0, 1.0])) == pytest.approx([bounds[0], bounds[1]])


def test_grid_by_hand():
    space = {"fast": (10, 20, "int"), "risk": (0.01, 1.0, "log")}
    sets = grid(space, budget=10)  # three values each make nine sets, four would make sixteen
    assert [params["fast"] for params in sets] == [10, 10, 10, 15, 15, 15, 20, 20, 20]
    assert [params["risk"] for params in sets[:3]] == pytest.approx([0.01, 0.1, 1.0])
    assert all(type(params["fast"]) is int and type(params["risk"]) is float for params in sets)
    assert grid({}, 5) == [{}]


def test_a_parameter_with_few_values_leaves_its_share_to_the_others():
    sets = grid({"side": (0, 1, "int"), "fixed": (3, 3, "int"), "window": (10, 1000, "int")}, budget=40)
    assert len(sets) == 40 and len({params["window"] for params in sets}) == 20


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), BOUNDS, max_size=4), st.integers(16, 300))
def test_a_grid_stays_in_its_space_and_budget_and_repeats_nothing(space, budget):
    sets = grid(space, budget)
    assert 1 <= len(sets) <= budget
    assert all(inside(params, space) for params in sets)
    assert len({tuple(params.values()) for params in sets}) == len(sets)


@pytest.mark.parametrize(
    "bounds", [(1, 2), (2, 1, "int"), (0.0, 1.0, "log"), (1.5, 3, "int"), (0, np.inf, "float"), (0, np.nan, "float"), (1, 2, "integer")]
)
def test_a_wrong_space_is_refused_by_name(bounds):
    with pytest.raises(UsageError, match="space: window: expected"):
        check_space({"good": (1, 2, "int"), "window": bounds})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"budget": 0}, "search.budget: expected a whole number of at least 1"),
        ({"budget": 1.5}, "search.budget"),
        ({"method": "tpf"}, "search.method: found 'tpf'; did you mean 'tpe'"),
        ({"rule": "plato"}, "search.rule: found 'plato'; did you mean 'plateau'"),
        ({"objective": "max_drawdown"}, "search.objective: found 'max_drawdown'"),  # lower is better: it cannot be asked for
    ],
)
def test_a_wrong_search_is_refused(setting, message):
    with pytest.raises(UsageError, match=message):
        Search(**setting)


def test_a_grid_too_coarse_to_be_one_is_refused():
    with pytest.raises(UsageError, match="a grid over 5 parameters needs a budget of at least 32, found 20; use tpe"):
        evaluate(lambda params: 0.0, dict.fromkeys("abcde", (0.0, 1.0, "float")), Search(budget=20, method="grid"))


@pytest.mark.parametrize("method", ["grid", "tpe"])
def test_every_set_is_tried_once_and_kept_with_its_score(method):
    asked = []
    table = evaluate(lambda params: asked.append(dict(params)) or hill(params), SPACE, Search(budget=64, method=method))
    assert table.columns.tolist() == ["fast", "width", "risk", "score"]
    assert table.drop(columns="score").to_dict("records") == asked and len(asked) <= 64
    assert table["score"].tolist() == [hill(params) for params in asked]
    assert all(inside(params, SPACE) for params in asked) and not table.duplicated().any()
    assert table["fast"].dtype.kind == "i"


def test_a_small_space_is_not_tried_twice():
    asked = []
    evaluate(lambda params: asked.append(params["n"]) or 0.0, {"n": (1, 3, "int")}, Search(budget=30))
    assert sorted(asked) == [1, 2, 3]


def test_tpe_finds_the_hill_and_follows_its_seed():
    first, again, other = (evaluate(hill, SPACE, Search(budget=60, seed=seed)) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)
    for table in (first, other):
        assert table["score"].max() > -0.02
        assert table["score"].tail(30).mean() > table["score"].head(10).mean()  # it looks where scores were good


def test_undefined_scores_do_not_stop_a_search():
    table = evaluate(lambda params: np.nan if params["fast"] > 20 else hill(params), SPACE, Search(budget=40))
    assert 0 < table["score"].isna().sum() < 40
    assert evaluate(lambda params: np.nan, SPACE, Search(budget=20))["score"].isna().all()


@pytest.mark.parametrize("method", ["grid", "tpe"])
def test_an_empty_space_has_one_set(method):
    table = evaluate(lambda params: 7.0, {}, Search(budget=20, method=method))
    assert table.to_dict("records") == [{"score": 7.0}]


def test_optuna_is_quiet_and_its_log_level_stays_the_users(capfd):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    evaluate(hill, SPACE, Search(budget=3))
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert capfd.readouterr() == ("", "")


def test_an_error_of_the_score_is_the_callers():
    def broken(params):
        raise ZeroDivisionError("in the strategy")

    with pytest.raises(ZeroDivisionError, match="in the strategy"):
        evaluate(broken, SPACE, Search(budget=3))


def test_a_larger_budget_begins_with_the_smaller_ones_sets():
    tables = [evaluate(hill, SPACE, Search(budget=budget)) for budget in (5, 20, 40)]
    for small, large in pairwise(tables):
        pd.testing.assert_frame_equal(small, large.head(len(small)))
