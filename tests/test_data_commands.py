"""`quantalpha data passport`, `check` and `query`, as a user types them."""

import errno
from unittest.mock import patch

import pytest
from workspace import Workspace

from quantalpha import config, schema
from quantalpha.market.store import Lake
from quantalpha.market.synthetic import synthetic_bars

SYNTHETIC = config.Synthetic(seed=5, start="2021-01-01", bars=1500, timeframe="1h", edge={"BTCUSDT": 0.0})
HERE = ("--set", "venue.source=practice", "--symbol", "BTCUSDT")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    place = Workspace(tmp_path_factory.mktemp("data"))
    lake, rows = Lake(place.root / "data/raw"), synthetic_bars("BTCUSDT", SYNTHETIC)[list(schema.REQUIRED)]
    lake.merge("practice", "BTCUSDT", "1h", rows, source="practice REST", complete_before=0)
    lake.merge("practice", "BTCUSDT", "1h", rows.iloc[:9] * 1.01, source="archive", complete_before=0)
    return place


def test_passport_prints_a_line_a_month_and_json_the_whole_history(workspace):
    answer = workspace.call("data", "passport", *HERE)
    assert answer.code == 0 and "from archive, practice REST" in answer.out
    assert [line.split()[1] for line in answer.out.splitlines() if "2021-" in line] == ["2021-01+", "2021-02+", "2021-03+"]
    months = workspace.call("data", "passport", *HERE, "--json").json
    assert [month["source"] for month in months] == ["practice REST"] * 3
    assert months[0]["history"][0]["differ"] == 9 and len(months[0]["id"]) == 64


def test_check_counts_what_is_wrong(workspace):
    (row,) = workspace.call("data", "check", *HERE, "--json").json
    assert row["sources"] == 9 and row["rows"] == SYNTHETIC.bars - row["missing"] and row["violations"] == 0
    assert "BTCUSDT 1h" in workspace.call("data", "check", *HERE).out


def test_an_answer_is_exact_and_not_endless(workspace):
    answer = workspace.call("data", "query", "select 77888.24032161 price")
    assert "77888.24032161" in answer.out
    long = workspace.call("data", "query", "select * from bars", "--kind", "1h").out
    assert "the first 50; --json prints all" in long and len(long.splitlines()) < 60


def test_what_cannot_be_written_is_one_line(workspace):
    with patch("quantalpha.files.os.replace", side_effect=OSError(errno.ENOSPC, "No space left on device", "data/raw/x.parquet")):
        file = workspace.root / "bars.csv"
        file.write_text("timestamp,open,high,low,close,volume\n2024-01-01,1,2,1,2,3\n2024-01-02,1,2,1,2,3\n")
        answer = workspace.call("import", str(file), "--symbol", "BTCUSDT", "--timeframe", "1d")
    assert answer.code == 2 and answer.err.startswith("error: data/raw/x.parquet: No space left on device; free space")


def test_passports_by_the_names_of_parameters_too(workspace):
    named, kept = (workspace.call("data", "passport", *HERE, "--kind", kind, "--json").json for kind in ("bars", "1h"))
    assert named == kept and {(month["symbol"], month["kind"], month["month"]) for month in kept} >= {("BTCUSDT", "1h", "2021-01")}


def test_query_answers_and_keeps_the_seal(workspace):
    count = "select count(*) n from bars"
    assert workspace.call("data", "query", count, "--json").json[0]["n"] > 1000
    sealed = workspace.call("data", "query", count, "--set", "holdout.start=2021-01-05", "--set", "data.start=2021-01-01", "--json")
    assert sealed.json == [{"n": 96}]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("passport", "--symbol", "XRPUSDT"), 4, "no months"),
        (("passport", *HERE, "--kind", "2h"), 4, "no months"),
        (("passport", *HERE, "--kind", "yesterday"), 2, "timeframe"),
        (("check", "--symbol", "XRPUSDT"), 4, "nothing stored"),
        (("query", " "), 2, "expected SQL"),
        (("query", "select * from read_csv('/etc/passwd')"), 2, "no other file can be read"),
        (("query", "select 1 from bars", "--venue", "../.."), 2, "expected a name of the lake"),
        (("query", "select 1 from bars", "--symbol", "XRPUSDT"), 4, "no months"),
    ],
)
def test_what_is_not_there_or_not_allowed_is_one_clear_line(workspace, arguments, code, says):
    answer = workspace.call("data", *arguments)
    assert answer.code == code and says in answer.err and len(answer.err.strip().splitlines()) == 1
