"""A whole session, watched: what the engine did stands in its log, was told to people, and adds up in its report."""

import json

import pytest
import small_bundle
from postbox import webhook
from workspace import CHECKOUT, entered

from quantalpha.market.synthetic import synthetic_bars
from quantalpha.ops.logs import FILE
from quantalpha.ops.reports import reports
from quantalpha.ops.watch import watching
from quantalpha.runner import Request, recorded, run_replay


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(parameters, bars, a bundle made from them)."""
    params = small_bundle.params("venue.source=practice", "synthetic.bars=1500", "synthetic.edge={BTCUSDT: 0.05}", "logs.level=debug")
    bars = synthetic_bars("BTCUSDT", params.synthetic)
    return params, bars, small_bundle.build(tmp_path_factory.mktemp("bundles"), bars, params)


def test_log_alerts_and_report_agree_with_the_journal(trained, tmp_path):
    params, bars, bundle = trained
    params = params.model_copy(update={"alerts": params.alerts.model_copy(update={"per_minute": 10_000, "tell": ["fill", "session"]})})
    watched = tmp_path / "watched"
    watched.mkdir()
    with webhook() as hook, entered(CHECKOUT, QUANTALPHA_ALERTS=hook.address):
        request = Request(name="s1", sessions=tmp_path / "sessions", watching=lambda _, past: watching(watched, params, past))
        summary = run_replay(bundle, params, bars.iloc[700:800], request)
        told = hook.texts(hook.mail.qsize())
    frames = recorded(tmp_path / "sessions" / "s1")
    (report,) = reports(tmp_path / "sessions" / "s1")
    kinds = [json.loads(line)["kind"] for line in (watched / FILE).read_text().splitlines()]
    assert summary.fills == report.fills == kinds.count("Fill") == sum(" base at " in text for text in told) > 0
    assert kinds.count("MarketClose") == report.bars == 100 and report.equity == summary.equity
    assert report.fees == pytest.approx(frames["fills"]["fee"].sum())
    assert report.realised == pytest.approx(frames["fills"]["realised"].sum())
    assert report.funding == pytest.approx(frames["funding"]["amount"].sum())
    assert "session start" in told[0] and "session stop: end of data" in told[-1]
