"""The one line about a table's quality, and what passports tell of a whole history."""

import pandas as pd
import pytest

from quantalpha import config, schema
from quantalpha.market.inspection import inspect, inspect_lake, passports, witnesses
from quantalpha.market.store import Lake
from quantalpha.market.synthetic import synthetic_bars

PARAMS = config.load("default", ["venue.source=test", "venue.second=other", "data.symbols=[BTCUSDT]"])
SYNTHETIC = config.Synthetic(seed=5, start="2021-01-01", bars=1500, timeframe="1h", edge={"BTCUSDT": 0.0})
TAPE = synthetic_bars("BTCUSDT", SYNTHETIC)
BARS = TAPE[list(schema.REQUIRED)]
KEY = ("test", "BTCUSDT", "1h")


def test_every_finding_is_counted_where_it_was_planted():
    clean = inspect(BARS, "1h", PARAMS.quality)
    faulty = BARS.drop(BARS.index[50:53]).copy()
    faulty.iloc[100, 1] = 1.0  # a high below the low
    faulty.iloc[200, 4] = 0.0
    faulty.iloc[300:312, :4] = faulty["close"].iloc[299]
    faulty = pd.concat([faulty.iloc[:400], faulty.iloc[[10]], faulty.iloc[400:]])
    found = inspect(faulty, "1h", PARAMS.quality, differ=BARS.index[[7]])
    expected = {"gaps": 1, "missing": 3, "duplicates": 1, "out of order": 1, "violations": 1, "zero volume": 1, "frozen": 3, "sources": 1}
    assert {name: found[name] - clean[name] for name in expected} == expected
    assert found["rows"] == len(faulty) and found["first"] == BARS.index[0].isoformat()


def test_to_look_is_not_to_drop():
    dropping = PARAMS.quality.model_copy(update={"zero_volume": "drop"})
    assert inspect(BARS.assign(volume=0.0), "1h", dropping)["zero volume"] == len(BARS)


@pytest.fixture
def lake(tmp_path):
    lake, wrong = Lake(tmp_path), BARS.copy()
    wrong.iloc[5, 3] *= 1.5
    lake.merge(*KEY, BARS.drop(BARS.index[900]), source="REST", complete_before=0)
    lake.merge(*KEY, wrong, source="archive", complete_before=0)
    lake.merge(*KEY, BARS.iloc[:3] * 1.001, source="REST", complete_before=0)
    lake.merge("test", "BTCUSDT", "mark-1h", TAPE[["open", "high", "low", "close"]], source="REST", complete_before=0)
    lake.merge("other", "BTCUSDT", "1h", BARS * 1.2, source="REST", complete_before=0)
    return lake


def test_passports_tell_revised_repaired_compared_and_disputed(lake):
    january, february = passports(lake, *KEY)[:2]
    assert (january["revised"], january["repaired"], january["disputed"]) == (3, 0, 1)
    assert (february["repaired"], february["disputed"], february["second source"]) == (1, 0, "archive")
    assert january["compared"] == january["rows"] and len({january["passport"], january["sha256"], february["sha256"]}) == 3


def test_the_lake_is_inspected_kind_by_kind_with_its_witnesses(lake):
    rows = list(inspect_lake(lake, "BTCUSDT", PARAMS))
    assert [row["kind"] for row in rows] == ["1h", "mark-1h"]
    bars = rows[0]
    assert bars["jump"] == len(BARS), "the second venue stands 20 % away"
    assert bars["sources"] == 1 and bars["revised"] == 3 and bars["repaired"] == 1 and bars["source"] == "REST"
    assert "jump" not in rows[1] and rows[1]["violations"] == 0


def test_witnesses_are_what_the_lake_holds_before_the_seal(lake):
    assert set(witnesses(lake, KEY, "other")) == {"mark", "second"} and set(witnesses(lake, KEY, None)) == {"mark"}
    sealed = Lake(lake.root, BARS.index[800])
    assert {len(table) for table in witnesses(sealed, KEY, "other").values()} == {800}
