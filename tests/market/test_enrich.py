"""What the clean stage adds: leaders from the raw lake, on-chain series from files."""

import json

import numpy as np
import pandas as pd
import pytest

from quantalpha import config
from quantalpha.errors import DataError
from quantalpha.market.enrich import enrich_bars
from quantalpha.market.store import Lake
from quantalpha.market.synthetic import synthetic_bars

VENUE = "practice"


@pytest.fixture(scope="module")
def settings() -> config.Params:
    values = ["venue.source=practice", "data.end=2021-02-15", "context.leaders=[BTCUSDT]", "context.onchain=[BTC]", "synthetic.bars=1200"]
    return config.load("demo", values)


@pytest.fixture(scope="module")
def coins(settings) -> dict[str, pd.DataFrame]:
    columns = ["open", "high", "low", "close", "volume"]
    return {symbol: synthetic_bars(symbol, settings.synthetic)[columns] for symbol in settings.data.symbols}


@pytest.fixture
def kept(tmp_path, coins, settings):
    """(lake, manifest of BTCUSDT, table of BTC): what the stage is given."""
    lake = Lake(tmp_path / "raw")
    lake.write(VENUE, "BTCUSDT", "1h", coins["BTCUSDT"], source="test", complete_before=0)
    manifest = tmp_path / "BTCUSDT.manifest.json"
    manifest.write_text(json.dumps(lake.manifest(VENUE, "BTCUSDT", ["1h"], settings.data.start, settings.data.end)))
    table = pd.DataFrame({"timestamp": pd.date_range("2020-12-25", periods=60, tz="UTC"), "mvrv": np.arange(60.0)})
    table.to_parquet(tmp_path / "BTC.parquet")
    return lake, manifest, tmp_path / "BTC.parquet"


def test_nothing_asked_nothing_changed(coins, settings, kept):
    assert enrich_bars(coins["ETHUSDT"], [], [], kept[0], settings).equals(coins["ETHUSDT"])


def test_each_coin_gets_its_leader_and_the_series(coins, settings, kept):
    lake, manifest, table = kept
    bars = coins["ETHUSDT"].loc[:"2021-02-14"]
    found = enrich_bars(bars, [manifest], [table], lake, settings)
    assert list(found) == [*bars, "BTCUSDT.close", "onchain_mvrv"]
    expected = coins["BTCUSDT"]["close"].reindex(bars.index)
    pd.testing.assert_series_equal(found["BTCUSDT.close"], expected, check_names=False)
    assert (found.loc["2021-01-01", "onchain_mvrv"] == 5).all()  # the value of 2020-12-30, the day before the last
    own = enrich_bars(coins["BTCUSDT"].loc[:"2021-02-14"], [manifest], [], lake, settings)
    assert own["BTCUSDT.close"].equals(own["close"].rename("BTCUSDT.close"))


def test_what_cannot_be_trusted_is_refused(coins, settings, kept, tmp_path):
    lake, manifest, table = kept
    table.write_bytes(b"not parquet")
    with pytest.raises(DataError, match="BTC.parquet: on-chain: cannot be read"):
        enrich_bars(coins["ETHUSDT"], [], [table], lake, settings)
    listing = json.loads(manifest.read_text())
    listing["1h"][0]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(listing))
    with pytest.raises(DataError, match="not what its manifest lists"):
        enrich_bars(coins["ETHUSDT"], [manifest], [], lake, settings)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.iloc[:0], "1 series, and no value known at any of 1079 bars from 2021-01-01 .*; get the days of that span"),
        (lambda table: table[["timestamp"]], "0 series, and no value known"),
        (lambda table: table.assign(mvrv=np.nan), "1 series, and no value known"),
        (lambda table: table.assign(timestamp=table["timestamp"] - pd.Timedelta("900D")), "no value known at any"),
        (lambda table: table.assign(mvrv=np.inf), "column 'mvrv': infinite at 2020-12-25"),
        (lambda table: table.drop(columns="timestamp"), "expected `timestamp`, an index of UTC days, found int64; give `timestamp`"),
        (lambda table: table.assign(timestamp=table["timestamp"].dt.tz_localize(None)), "use tz_localize"),
    ],
)
def test_a_file_that_tells_nothing_is_named_and_refused(coins, settings, kept, change, says):
    lake, _, path = kept
    change(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(DataError, match=f"BTC.parquet: on-chain: .*{says}"):
        enrich_bars(coins["ETHUSDT"].loc[:"2021-02-14"], [], [path], lake, settings)


def test_a_leader_ends_before_the_holdout(coins, settings, kept):
    lake, manifest, _ = kept
    sealed = settings.model_copy(update={"holdout": config.Holdout(start="2021-02-01")})
    manifest.write_text(json.dumps(lake.manifest(VENUE, "BTCUSDT", ["1h"], settings.data.start, sealed.holdout.start)))
    found = enrich_bars(coins["ETHUSDT"].loc[:"2021-02-14"], [manifest], [], Lake(lake.root, sealed.holdout.start), sealed)
    assert found["BTCUSDT.close"].last_valid_index() == pd.Timestamp("2021-01-31 23:00", tz="UTC")
