"""What a training stage searched: a candidate carries it, the gate does it again, and what nobody searched is refused."""

from dataclasses import replace

import pandas as pd
import pytest
from searches import FEATURES, small, tape

from quantalpha.backtest.walk_forward import WalkForward, final_model, walk_forward_forecasts
from quantalpha.errors import DataError
from quantalpha.features import build
from quantalpha.labels import label
from quantalpha.promotion import Candidate, Trained, gate_proofs, hyperparameters, origin
from quantalpha.promotion.case import Case, Terms
from quantalpha.promotion.gate import _final_gap, _forecast_gap
from quantalpha.validation.trials import Trials


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return tape()


@pytest.fixture(scope="module")
def candidate(bars, tmp_path_factory) -> Candidate:
    """What notebook 05 leaves, with a search of six sets."""
    params, folder = small("search.trials=6", "models.names=[xgboost]"), tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hyperparameters, "STUDIES", str(folder))
        made = build(FEATURES).compute(bars), label(bars, params.labels)
        found = hyperparameters.search("BTCUSDT", "xgboost", params, (*made, bars))
    given = *made, params.splits, found.fits
    walk = replace(walk_forward_forecasts(*given), chosen=found.chosen)
    named = origin("BTCUSDT", params, FEATURES, {}, bars.index[-1])
    return Candidate(folder, Trained(named, final_model(*given), walk), build(FEATURES), {}, pd.DataFrame(), {})


def changed(candidate: Candidate, **sections) -> Candidate:
    named = candidate.trained.origin
    return replace(candidate, trained=replace(candidate.trained, origin=replace(named, sections=named.sections | sections)))


def with_choices(candidate: Candidate, chosen: list[dict]) -> Candidate:
    walk = replace(candidate.trained.walk, chosen=chosen)
    return replace(candidate, trained=replace(candidate.trained, walk=walk))


def case(candidate: Candidate, bars: pd.DataFrame) -> Case:
    return Case.of(candidate, bars, Terms(small().gate))


def test_every_fold_and_the_final_model_come_out_again(candidate, bars):
    searched, plain = case(candidate, bars), case(with_choices(candidate, []), bars)
    assert len(candidate.trained.walk.chosen) == 2
    assert _forecast_gap(searched) == _final_gap(searched) == 0.0
    assert _forecast_gap(plain) > 1e-3 and _final_gap(plain) > 1e-3
    assert len(searched.paths) > 1  # other histories, with the final model's choice


def test_the_sets_are_tries_of_the_market(candidate):
    assert Trials().count(study="binanceusdm-BTCUSDT-1h", strategy="BTCUSDT-xgboost") >= 12


def test_choices_are_kept_with_the_forecasts(candidate, tmp_path):
    names = candidate.trained.walk.save(tmp_path)
    assert "chosen.json" in names
    assert WalkForward.load(tmp_path).chosen == candidate.trained.walk.chosen
    (tmp_path / "chosen.json").unlink()
    assert WalkForward.load(tmp_path).chosen == ()


def test_a_folds_search_chooses_the_same_again(candidate, bars):
    line = gate_proofs.choices_searched(case(candidate, bars))
    assert line.passed and line.reason == "the searches of fold 0 and of the final model, 6 sets, choose the same again"


def test_a_choice_that_the_search_does_not_make_is_refused(candidate, bars):
    other = [one | {"trees": one["trees"] + 1} for one in candidate.trained.walk.chosen]
    line = gate_proofs.choices_searched(case(with_choices(candidate, other), bars))
    assert not line.passed and "fold 0: " in line.reason and "fold final: " in line.reason and " is chosen" in line.reason


@pytest.mark.parametrize("trials, keep", [(0, True), (6, False)])
def test_choices_without_a_search_and_a_search_without_choices_are_refused(candidate, bars, trials, keep):
    search = candidate.trained.origin.sections["search"] | {"trials": trials}
    odd = changed(candidate if keep else with_choices(candidate, []), search=search)
    line = gate_proofs.choices_searched(case(odd, bars))
    assert not line.passed and f"search.trials is {trials}, but" in line.reason


def test_where_nothing_is_searched_the_line_says_so(candidate, bars):
    search = candidate.trained.origin.sections["search"] | {"trials": 0}
    line = gate_proofs.choices_searched(case(changed(with_choices(candidate, []), search=search), bars))
    assert line.passed and line.reason == "nothing was searched"


def test_the_search_itself_is_tried_on_altered_bars(candidate, bars, monkeypatch):
    assert gate_proofs.model_saw_no_test(case(candidate, bars)).passed
    honest = hyperparameters.search_fold

    def peeking(history, fold, tuning):
        """Chooses by what follows the training window."""
        study = honest(history, fold, tuning)
        return replace(study, chosen=study.chosen | {"trees": 5 + int(history.bars["close"].iloc[-1] * 1e6) % 30})

    monkeypatch.setattr(hyperparameters, "search_fold", peeking)
    line = gate_proofs.model_saw_no_test(case(candidate, bars))
    assert not line.passed and "training saw its test rows" in line.reason


def test_choices_of_another_number_of_folds_or_of_no_model_are_named(candidate, bars):
    with pytest.raises(DataError, match="expected a fit for each of 1 folds and the final model, found 3"):
        _forecast_gap(case(with_choices(candidate, [*candidate.trained.walk.chosen, {}]), bars))
    with pytest.raises(DataError, match="xgboost: chosen hyper-parameters .*search again"):
        _forecast_gap(case(with_choices(candidate, [{"tree": 5}, {}]), bars))


def test_without_trials_nothing_is_searched(bars):
    params = small("search.trials=0")
    found = hyperparameters.search("BTCUSDT", "xgboost", params, (build(FEATURES).compute(bars), label(bars, params.labels), bars))
    assert found.studies == found.chosen == [] and callable(found.fits)
