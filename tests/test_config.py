"""Parameters: one clear line for every mistake; secrets never leave."""

import json

import pytest

from quantalpha import config, secrets
from quantalpha.errors import UsageError


def test_defaults_and_profiles_load_and_are_frozen():
    params = config.load("demo", ["labels.horizon=12"])
    assert params.labels.horizon == 12
    assert params.venue.rest_url == "http://127.0.0.1:8899"
    with pytest.raises(ValueError, match="frozen"):
        params.labels.horizon = 3


@pytest.mark.parametrize(
    "override, words",
    [
        ("labels.horzion=3", ["labels.horzion", "unknown key", "did you mean 'horizon'"]),
        ("labls.horizon=3", ["labls", "did you mean 'labels'"]),
        ("labels.horizon=abc", ["labels.horizon", "integer", "'abc'"]),
        ("labels.horizon=0", ["labels.horizon", "greater than 0", "found 0"]),
        ("labels={kind: trend_scanning, shortest: 25}", ["labels: shortest 25 must not exceed horizon 24"]),
        ("labels.kind=meta", ["labels.kind", "'triple_barrier', 'fixed_horizon' or 'trend_scanning'", "'meta'"]),
        ("labels.weights=return", ["labels.weights", "'uniqueness', 'attribution' or 'equal'", "'return'"]),
        ("splits.test=0", ["splits.test", "greater than 0, or day, week, month, quarter or year", "found 0"]),
        ("splits.test=fortnight", ["splits.test", "a number of bars", "found 'fortnight'"]),
        ("holdout.start=2020-01-01", ["holdout.start 2020-01-01 00:00 must lie after data.start 2021-01-01 00:00"]),
        ("holdout.start=2024-01-01 00:30", ["holdout.start 2024-01-01 00:30 must be where a bar of 1h opens"]),
        ("labels.events=0", ["labels.events", "greater than 0", "found 0"]),
        ("labels.decay=-1", ["labels.decay", "greater than -1", "found -1"]),
        ("data.start=2030-01-01", ["data", "start 2030-01-01", "before end"]),
        ("data.start=soon", ["data.start", "date", "'soon'"]),
        ("data.timeframe=7x", ["data.timeframe", "'15m'", "'7x'"]),
        ("data.symbols=[BTCUSDT, BTCUSDT]", ["data", "differ"]),
        ("context.leaders=[SOLUSDT]", ["context.leaders must be among data.symbols, found SOLUSDT"]),
        ("context.onchain=[../BTC]", ["context.onchain", "'../BTC'"]),
        ("context.onchain_lag=soon", ["context.onchain_lag", "'soon'"]),
        ("context.onchain_lag=23h", ["context.onchain_lag: expected at least 1d", "found '23h'"]),
        ("context.onchain=[BTC, BTC]", ["context.onchain: expected names that differ, found ['BTC', 'BTC']"]),
        ("context.leaders=[BTCUSDT, BTCUSDT]", ["context.leaders: expected names that differ"]),
        ("models.names=[lightgmb]", ["models.names", "'lightgbm'", "'lightgmb'"]),
        ("models.lightgbm.tree=5", ["models.lightgbm.tree", "did you mean 'trees'"]),
        ("search.trials=-1", ["search.trials", "greater than or equal to 0"]),
        ("search.lightgbm.trees=[50, 400]", ["search.lightgbm.trees", "[lowest, highest, int | float | log]", "[50, 400]"]),
        ("search.lightgbm.l2=[0, 1, log]", ["search.lightgbm.l2", "log: above 0"]),
        ("search.lightgbm.tres=[50, 400, int]", ["search.lightgbm.tres", "'trees'", "'tres'"]),
        ("search.xgboost.leaves=[1, 5, int]", ["search.xgboost.leaves: expected greater than or equal to 2, found 1"]),
        ("search.xgboost.leaves=[2, 5, log]", ["search.xgboost.leaves: kind must be int, found 'log'"]),
        ("policy.exit=0.9", ["policy", "exit 0.9", "enter"]),
        ("costs.taker=.nan", ["costs.taker", "nan"]),
        ("venue.rest_url=http://me:hunter2@host", ["venue.rest_url", "no path, user or password"]),
        ("venue.rest_url=https://gateway.example/binance", ["venue.rest_url", "no path"]),
        ("venue.ws_url=null", ["venue", "set both or neither"]),
        ("venue.source=null", ["venue", "source must say", "127.0.0.1:8899"]),
        ("venue.source=binanceusdm", ["venue", "source must say", "127.0.0.1:8899"]),
        ("venue.source=import", ["venue", "source must say", "127.0.0.1:8899"]),
        ("pipeline.executor=dask", ["pipeline", "dask_address"]),
        ("labels", ["--set", "section.key=value", "'labels'"]),
        ("labels=5", ["labels", "found 5"]),
    ],
)
def test_every_mistake_is_one_clear_line(override, words):
    with pytest.raises(UsageError) as caught:
        config.load("demo", [override])
    message = str(caught.value)
    assert "\n" not in message and "Value error" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("found", ["14", "null", "[null]", "[.inf]", "[[.nan]]", "[2021-01-01]", "[true]", "[[[14]]]", "[{rsi: 14}]"])
def test_what_is_no_list_of_features_is_refused_in_the_words_of_the_file(found):
    for key, override in (("rsi", f"features.rsi={found}"), ("4h.rsi", f"features.4h={{rsi: {found}}}")):
        with pytest.raises(UsageError) as caught:
            config.load("demo", [override])
        assert f"features.{key}: expected a list of windows such as [14], or of [parameters], found " in str(caught.value)
        assert not any(word in str(caught.value) for word in ("union", "function", "\n"))
    with pytest.raises(UsageError, match="features.4h.8h: expected a list of windows"):
        config.load("demo", ["features.4h={8h: {rsi: [14]}}"])


def test_two_tapes_never_share_a_folder_of_the_lake():
    one, same, other, file = (
        config.load("demo", [o]).venue.kept_as
        for o in ("labels.horizon=3", "labels.horizon=4", "synthetic.seed=99", "exchange.tape=bars.parquet")
    )
    assert one == same and len({one, other, file}) == 3
    assert config.load("default").venue.kept_as == "binanceusdm"


def test_other_funding_on_one_side_is_another_tape_there_alone():
    first, second = (
        {config.load("demo", [f"venue.name={name}", f"exchange.bybit_funding={more}"]).venue.kept_as for more in ("0.0", "0.001")}
        for name in ("binanceusdm", "bybit")
    )
    assert len(first) == 1 and len(second) == 2


def test_a_tape_is_known_by_its_content(tmp_path):
    tape = tmp_path / "bars.parquet"
    names = []
    for content in (b"one", b"two", b"one"):
        tape.write_bytes(content)
        names.append(config.load("demo", [f"exchange.tape={tape}"]).venue.kept_as)
    assert names[0] == names[2] != names[1]
    same = [config.load("demo", [f"synthetic.edge={{BTCUSDT: 0.0, ETHUSDT: {zero}}}"]).venue.kept_as for zero in ("0", "0.0")]
    assert same[0] == same[1], "the same number, spelt otherwise"


def test_unknown_profile_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'demo'"):
        config.load("dmeo")


def test_params_file_faults(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("data: [unclosed")
    with pytest.raises(UsageError, match="cannot be read"):
        config.load(source=path)
    path.write_text("- a list")
    with pytest.raises(UsageError, match="expected sections"):
        config.load(source=path)


def test_a_stage_reads_only_what_it_declared():
    sections = config.load("demo").sections(["labels"])
    params = config.stage_params(sections)
    assert params.labels == config.load("demo").labels
    with pytest.raises(UsageError, match="did not declare section 'costs'"):
        _ = params.costs
    with pytest.raises(UsageError, match="did you mean 'labels'"):
        config.stage_params({"labls": {}})


def test_resolved_sections_round_trip_through_json():
    full = config.load("demo")
    names = list(config.Params.model_fields)
    again = config.stage_params(json.loads(json.dumps(full.sections(names))))
    assert all(getattr(again, name) == getattr(full, name) for name in names)


def test_secrets_come_from_the_environment_and_are_masked(monkeypatch):
    monkeypatch.setattr(secrets, "environment", lambda: {"BINANCE_API_SECRET": "s3cr3t-value", "HOME": "/home/user"})
    assert config.secret("BINANCE_API_SECRET") == "s3cr3t-value"
    with pytest.raises(UsageError, match="BYBIT_API_KEY: not set"):
        config.secret("BYBIT_API_KEY")
    assert config.mask("key=s3cr3t-value at /home/user") == "key=*** at /home/user"
    assert (
        config.mask("postgresql://me:hunter2@db/x and redis://:pw@h https://tok@h")
        == "postgresql://***@db/x and redis://***@h https://***@h"
    )


def test_a_secret_of_several_lines_is_masked_line_by_line_and_as_json(monkeypatch):
    pem = "-----BEGIN-----\nabcdefgh\nijklmnop\n-----END-----"
    monkeypatch.setattr(secrets, "environment", lambda: {"VENUE_KEY": pem})
    for text in (pem, "line abcdefgh of it", json.dumps({"key": pem})):
        assert "abcdefgh" not in config.mask(text) and "ijklmnop" not in config.mask(text)


def test_secrets_are_read_from_dotenv(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("QA_TEST_TOKEN=abcdef123\n")
    monkeypatch.setenv("QUANTALPHA_ROOT", str(tmp_path))
    config.root.cache_clear()
    config.environment.cache_clear()
    try:
        assert config.secret("QA_TEST_TOKEN") == "abcdef123"
        assert "abcdef123" not in config.mask("token abcdef123")
    finally:
        config.root.cache_clear()
        config.environment.cache_clear()
