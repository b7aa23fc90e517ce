"""Good parameters have good neighbours: a spike among bad sets is passed over for a ridge."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.backtest.plateau import choose, heat_map, neighbourhood
from quantalpha.backtest.search import Search, evaluate
from quantalpha.errors import UsageError

SPACE = {"a": (0, 10, "int"), "b": (0, 10, "int")}


def landscape(params):
    """A ridge of 5 for a from 2 to 4, a spike of 10 at one point, 0 elsewhere."""
    return 10.0 if (params["a"], params["b"]) == (8, 7) else 5.0 if 2 <= params["a"] <= 4 else 0.0


def corner(params):
    return 10.0 if (params["a"], params["b"]) == (10, 10) else landscape(params | {"b": 0})


def on_grid(score=landscape, budget=121):
    return evaluate(score, SPACE, Search(budget=budget, method="grid"))


def chosen(table, rule):
    best = table.iloc[choose(table, rule)]
    return best["a"], best["b"]


@pytest.mark.parametrize(("score", "spike"), [(landscape, (8, 7)), (corner, (10, 10))])
def test_best_takes_the_spike_and_plateau_the_ridge(score, spike):
    table = neighbourhood(on_grid(score), SPACE)
    assert chosen(table, "best") == spike
    assert chosen(table, "plateau")[0] == 3  # its middle


def test_so_it_is_for_scattered_sets():
    def score(params):
        near = abs(params["a"] - 8) < 0.3 and abs(params["b"] - 7) < 0.3
        return 10.0 if near else 5.0 if 2 <= params["a"] <= 4 else 0.0

    rng, space = np.random.default_rng(1), {"a": (0, 10, "float"), "b": (0, 10, "float")}
    sets = pd.DataFrame(np.vstack([rng.uniform(0, 10, (200, 2)), [[8.1, 6.9]]]), columns=["a", "b"])
    table = neighbourhood(sets.assign(score=[score(row) for row in sets.to_dict("records")]), space, reach=0.1)
    assert chosen(table, "best") == (8.1, 6.9)
    assert 2 <= chosen(table, "plateau")[0] <= 4


def test_neighbourhood_by_hand():
    scores = [1.0, 4.0, 4.0, -2.0, np.nan]
    table = neighbourhood(pd.DataFrame({"n": [10, 20, 40, 50, 60], "score": scores}), {"n": (10, 60, "int")}, good=0.5)
    assert table["neighbours"].tolist() == [1, 2, 2, 2, 1]  # one step of the grid, whatever its length
    assert table["neighbour_mean"].tolist() == [4.0, 2.5, 1.0, 1.0, -2.0]  # the undefined one counts as the worst, -2
    assert table["neighbour_min"].tolist() == [4.0, 1.0, -2.0, -2.0, -2.0]
    # (own + neighbours + the median, 1, for each that is lacking) / 3; never that of an undefined one
    np.testing.assert_allclose(table["plateau"], [(1 + 4 + 1) / 3, (4 + 1 + 4) / 3, (4 + 4 - 2) / 3, (-2 + 4 - 2) / 3, np.nan])
    assert table["stability"].tolist() == [1.0, 0.5, 0.5, 0.5, 0.0]  # of the neighbours, those of at least 0.5 * 4


def test_stability_counts_every_good_neighbour():
    sets = pd.DataFrame({"n": [1, 2, 3, 4], "score": [5.0, 4.5, 4.2, 1.0]})
    table = neighbourhood(sets, {"n": (1, 4, "int")}, reach=1.0, good=0.8)
    np.testing.assert_allclose(table["stability"], [2 / 3, 2 / 3, 2 / 3, 1.0])


def test_reach_is_a_share_of_the_range_in_the_parameters_own_scale():
    sets = pd.DataFrame({"risk": [0.01, 0.1, 1.0], "score": [1.0, 2.0, 3.0]})
    table = neighbourhood(sets, {"risk": (0.01, 1.0, "log")}, reach=0.5)
    assert table["neighbours"].tolist() == [1, 2, 1]
    assert neighbourhood(sets, {"risk": (0.01, 1.0, "float")}, reach=0.5)["neighbours"].tolist() == [1, 1, 0]


def test_a_lonely_set_is_taken_for_little_more_than_ordinary():
    sets = pd.DataFrame({"a": [0.0, 0.1, 0.2, 5.0, 9.0], "score": [3.0, 3.0, 3.0, 9.0, 0.0]})
    table = neighbourhood(sets, {"a": (0, 10, "float")}, reach=0.05)
    assert table["neighbours"].tolist() == [2, 2, 2, 0, 0]
    assert table.loc[3, "plateau"] == (9 + 2 * 3) / 3  # two neighbours are lacking: the median score, twice
    assert np.isnan(table.loc[3, ["neighbour_mean", "neighbour_min", "stability"]].to_numpy(float)).all()


def test_stability_below_zero_looks_further_down():
    table = neighbourhood(pd.DataFrame({"n": [1, 2, 3], "score": [-1.0, -1.1, -3.0]}), {"n": (1, 3, "int")}, good=0.8)
    assert table["stability"].tolist() == [1.0, 0.5, 1.0]  # good are those not below -1.2


@pytest.mark.parametrize("rule", ["best", "plateau"])
def test_where_nothing_is_defined_the_first_set_is_taken(rule):
    table = neighbourhood(on_grid(lambda params: np.nan), SPACE)
    assert choose(table, rule) == 0
    assert table[["neighbours", "plateau", "stability"]].isna().all(axis=None)


@pytest.mark.parametrize("rule", ["best", "plateau"])
def test_an_empty_space_has_one_set_to_take(rule):
    table = neighbourhood(evaluate(lambda params: 2.0, {}, Search()), {})
    assert choose(table, rule) == 0 and table["plateau"].tolist() == [2.0]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 100))
def test_the_choice_does_not_hang_on_the_order_of_sets_or_the_unit_of_scores(seed, factor):
    rng = np.random.default_rng(seed)
    table = on_grid(lambda params: rng.normal())
    shuffled = table.sample(frac=1, random_state=seed).assign(score=lambda rows: rows["score"] * factor)
    for rule in ("best", "plateau"):
        assert chosen(neighbourhood(table, SPACE), rule) == chosen(neighbourhood(shuffled, SPACE), rule)


def test_on_one_plateau_the_best_score_wins():
    space = dict.fromkeys("abc", (0.0, 1.0, "float"))
    rng = np.random.default_rng(0)
    table = neighbourhood(evaluate(lambda params: rng.normal(), space, Search(budget=8, method="grid")), space)
    assert table["neighbours"].eq(7).all() and table["plateau"].nunique() == 1
    assert choose(table, "plateau") == choose(table, "best") == table["score"].argmax()


def test_heat_map_by_hand():
    sets = pd.DataFrame({"a": [1, 1, 2, 2, 2], "b": [5, 6, 5, 5, 5], "c": [1, 1, 1, 2, 3], "score": [1.0, 2.0, 3.0, 9.0, np.nan]})
    space = {"a": (1, 2, "int"), "b": (5, 6, "int"), "c": (1, 3, "int")}
    best = heat_map(sets, space, "a", "b")
    assert best.index.tolist() == [1, 2] and best.columns.tolist() == [5, 6] and (best.index.name, best.columns.name) == ("a", "b")
    np.testing.assert_array_equal(best.to_numpy(), [[1.0, 2.0], [9.0, np.nan]])
    np.testing.assert_array_equal(heat_map(sets, space, "a", "b", others="mean").to_numpy(), [[1.0, 2.0], [6.0, np.nan]])


def test_heat_map_shows_what_was_tried_even_where_no_score_is_defined():
    assert heat_map(on_grid(lambda params: np.nan), SPACE, "a", "b").isna().all(axis=None)
    assert heat_map(on_grid(lambda params: np.nan), SPACE, "a", "b").shape == (11, 11)


def test_heat_map_of_scattered_sets_is_cut_into_cells():
    rng = np.random.default_rng(0)
    sets = pd.DataFrame({"n": rng.integers(1, 200, 3000), "risk": 10.0 ** rng.uniform(-2, 0, 3000)})
    map = heat_map(
        sets.assign(score=np.log10(sets["risk"])), {"n": (1, 200, "int"), "risk": (0.01, 1.0, "log")}, "n", "risk", others="mean", cells=4
    )
    assert map.shape == (4, 4)
    np.testing.assert_allclose(map.index, 1 + 199 * np.array([0.125, 0.375, 0.625, 0.875]))
    np.testing.assert_allclose(map.columns, 10.0 ** np.array([-1.75, -1.25, -0.75, -0.25]))
    np.testing.assert_allclose(map.mean(), [-1.75, -1.25, -0.75, -0.25], atol=0.02)


def test_wrong_names_are_refused():
    table = on_grid()
    for call, message in (
        (lambda: heat_map(table, SPACE, "a", "c"), "no parameter 'c'"),
        (lambda: heat_map(table, SPACE, "a", "a"), "two different parameters"),
        (lambda: heat_map(table, SPACE, "a", "b", others="min"), "others 'best' or 'mean'"),
        (lambda: choose(table, "worst"), "rule: found 'worst'"),
        (lambda: neighbourhood(table, {"x": (0, 1, "int")}), "no column 'x'"),
    ):
        with pytest.raises(UsageError, match=message):
            call()
