"""On-chain features against numpy and on recorded series, their publication included."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import UsageError
from quantalpha.features import FeatureSet, build
from quantalpha.features.onchain import onchain_change, onchain_score
from quantalpha.market.onchain import join_onchain
from quantalpha.validation import check_causal


def column(feature, **bars) -> np.ndarray:
    return FeatureSet([feature]).compute(pd.DataFrame(bars, dtype=float)).iloc[:, 0].to_numpy()


def test_by_hand():
    series = [2.0, 2.0, 4.0, -1.0, 0.0, 1.0]
    np.testing.assert_allclose(column(onchain_change("mvrv", 2), onchain_mvrv=series), [np.nan, np.nan, np.log(2), np.nan, np.nan, np.nan])
    found = column(onchain_score("mvrv", 3), onchain_mvrv=series)
    np.testing.assert_allclose(found[2:], [(series[i] - np.mean(w)) / np.std(w) for i in range(2, 6) for w in [series[i - 2 : i + 1]]])
    assert (column(onchain_score("mvrv", 2), onchain_mvrv=[3.0] * 5)[1:] == 0).all()


def test_a_flow_that_crosses_zero_has_a_score(bars):
    flow = bars.assign(onchain_net_flow=np.random.default_rng(0).normal(size=len(bars)))
    expected = flow["onchain_net_flow"].rolling(48).agg(lambda w: (w.iloc[-1] - w.mean()) / w.std(ddof=0))
    found = FeatureSet([onchain_score("net_flow", 48)]).compute(flow).iloc[:, 0]
    np.testing.assert_allclose(found[47:], expected[47:], rtol=1e-7, atol=1e-9)


def test_names_and_refusals():
    features = build({"onchain_change": [["CapMVRVCur", 720]], "onchain_score": [["CapMVRVCur", 720]]})
    assert features.names == ("onchain_change_CapMVRVCur_720", "onchain_score_CapMVRVCur_720")
    assert features.columns == ("onchain_CapMVRVCur",) and features.lookback == 721
    for series in ("", "a b", None, 720):
        with pytest.raises(UsageError, match="name of an on-chain series"):
            onchain_score(series, 720)
    with pytest.raises(UsageError, match="features.onchain_score: expected a window of at least 2"):
        onchain_score("mvrv", 1)


@pytest.mark.real
def test_recorded_series_move_once_a_day(shared_data):
    bars = pd.read_parquet(shared_data / "binance_spot_BTCUSDT_1h.parquet").set_index("timestamp").loc["2024-01":"2024-04"]
    table = pd.read_parquet(shared_data / "coinmetrics_BTC_onchain_1d.parquet").set_index("timestamp")[["CapMVRVCur"]]
    joined = join_onchain(bars, table, "1d", "3d")
    catalogue = build({"onchain_change": [["CapMVRVCur", 168]], "onchain_score": [["CapMVRVCur", 168]]})
    found = catalogue.compute(joined).dropna()
    assert len(found) == len(joined) - 168
    known = table["CapMVRVCur"].shift(2)
    expected = np.log(known / known.shift(7)).reindex(found.index.floor("D")).to_numpy()
    np.testing.assert_allclose(found["onchain_change_CapMVRVCur_168"], expected, rtol=1e-12)
    assert check_causal(catalogue.compute, joined.tail(1_000), cuts=3).clean
