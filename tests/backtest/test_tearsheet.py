"""The page says what the result says, whole and harmless; how it looks is for tests/browser and for eyes."""

import base64
import gzip
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sample_result import COSTS, sample_bars, sample_result, sample_target, two_symbols

from quantalpha.backtest import figures, simulate
from quantalpha.backtest.attribution import decompose
from quantalpha.backtest.critic import critique
from quantalpha.backtest.frontier import break_even, capacity, cost_frontier
from quantalpha.backtest.monte_carlo import bootstrap_bars, bootstrap_trades
from quantalpha.backtest.significance import RandomEntry, random_entry
from quantalpha.backtest.tearsheet import tearsheet
from quantalpha.perp import Account, Stops

EVIL = "<script>alert(1)</script>\"' & </style>"
OFFLINE = re.compile(r"""(?:src|href)=["'](?!data:|#)|@import|url\(""")


@pytest.fixture(scope="module")
def result():
    return sample_result()


@pytest.fixture(scope="module")
def full():
    """Every section."""
    bars = sample_bars(1500)
    target, terms = sample_target(bars), {"account": Account(10_000.0, 3.0), "costs": COSTS, "stops": Stops(0.04, 0.06)}
    result = simulate(bars, target, **terms)
    return tearsheet(
        result,
        title="everything",
        subtitle="on synthetic bars",
        baselines={"held": pd.Series(10_000.0 * bars["close"] / bars["open"].iloc[0], index=bars.index)},
        findings=critique(result),
        regimes=pd.Series(np.where(np.arange(1500) < 700, "calm", "stormy"), index=bars.index),
        frontier=cost_frontier(bars, target, **terms, fees=(0, 1), slippages=(0, 1), delays=(0, 1)),
        break_even=break_even(bars, target, **terms),
        capacity=capacity(bars, target, **terms, sizes=(1e4, 1e6)),
        monte_carlo={"bars": bootstrap_bars(result, paths=50), "trades": bootstrap_trades(result, paths=50)},
        significance=random_entry(bars, target, **terms, runs=20),
        data={"sha256": "0" * 64},
    )


class _Page(HTMLParser):
    """Text by tag, ids, places of figures; complains about tags that do not close."""

    VOID = {"meta", "link"}

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.open, self.text, self.places, self.scripts = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.places += [attrs["data-figure"]] if "data-figure" in attrs else []
        self.scripts += [attrs.get("id", "")] if tag == "script" else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


def names(sheet) -> list[str]:
    return [name for name, _ in sheet.sections]


def embedded(html: str, name: str) -> str:
    return re.search(rf'<script type="[^"]+" id="{name}">(.*?)</script>', html, re.DOTALL).group(1)


def test_every_figure_has_one_place_and_every_place_its_figure(full):
    page = _Page(full.html)
    assert page.open == [] and page.places == list(full.figures) and len(set(page.places)) == len(page.places)
    drawn = json.loads(embedded(full.html, "figures"))
    assert list(drawn) == page.places and all(figure["data"] for figure in drawn.values())


def test_sections_come_in_the_order_a_sceptic_reads(full):
    assert names(full) == ["What looks wrong", "Headline", "Equity and drawdown", "Through time", "Trades", "Costs", "Luck", "Parameters"]


@pytest.mark.parametrize(("factor", "words"), [(3.0, "all costs are 3.00 times as high"), (float("nan"), "There is no break-even")])
def test_the_break_even_in_words(result, factor, words):
    assert words in tearsheet(result, title="plain", break_even=factor).html


def test_what_is_not_given_is_left_out(result):
    sheet = tearsheet(result, title="plain")
    assert names(sheet) == ["Headline", "Equity and drawdown", "Through time", "Trades", "Costs", "Parameters"]
    assert list(sheet.figures) == ["equity", "monthly", "rolling", "trade_returns", "holding", "excursions", "waterfall", "paid"]


def test_luck_without_a_number_is_told_in_words(result):
    nothing = RandomEntry("sharpe_ratio", float("nan"), np.full(5, np.nan), float("nan"))
    sheet = tearsheet(result, title="plain", significance=nothing)
    assert "luck" not in sheet.figures and "5 runs with the same holdings" in sheet.html


def test_a_critic_who_found_nothing_is_heard(result):
    assert "found nothing wrong" in tearsheet(result, title="plain", findings=[]).html


def test_the_page_needs_no_network(full):
    own = full.html.replace(embedded(full.html, "plotly"), "").replace(embedded(full.html, "figures"), "")
    assert not OFFLINE.search(own)
    packed = embedded(full.html, "plotly")
    assert gzip.decompress(base64.b64decode(packed)).decode() == figures.library()
    assert full.html.count("</script>") == 3


def test_strings_of_users_stay_text(result):
    sheet = tearsheet(result, title=EVIL, subtitle=EVIL, baselines={EVIL: result.equity}, data={EVIL: EVIL})
    page = _Page(sheet.html)
    assert page.scripts == ["figures", "plotly", ""] and page.text.count(EVIL) == 6  # title, h1, subtitle, table, data twice
    drawn = json.loads(embedded(sheet.html, "figures"))
    assert "<script" not in json.dumps(drawn) and "&lt;script&gt;" in drawn["equity"]["data"][0]["name"]
    frame = _Page(sheet._repr_html_())
    assert frame.open == [] and frame.scripts == []


def test_several_symbols_are_told_apart():
    result = two_symbols(1500)
    sheet = tearsheet(result, title="two")
    page = _Page(sheet.html)
    assert any("BTC<USDT>, ETHUSDT" in text for text in page.text) and "BTC<USDT>" in page.text
    assert "BTC&lt;USDT&gt; " in sheet.figures["holding"].data[0].text[0]


@pytest.mark.parametrize("bars", [1, 2, 30])
def test_thin_results_have_a_page(bars):
    table = sample_bars(bars)
    for leverage in (0.0, 1.0):
        target = pd.Series(leverage, index=table.index)
        sheet = tearsheet(simulate(table, target, account=Account(1000.0), costs=COSTS), title="thin")
        assert _Page(sheet.html).open == [] and ("Trades" in names(sheet)) == (leverage > 0.0 and bars > 1)


def test_a_ruined_account_has_a_page():
    """All is lost in a gap: no logarithm of nothing, no endless number."""
    bars = sample_bars(600)
    bars.loc[bars.index[300] :, ["open", "high", "low", "close", "mark"]] *= 0.3
    result = simulate(bars, pd.Series(3.0, index=bars.index), account=Account(1000.0, 3.0), costs=COSTS)
    sheet = tearsheet(result, title="ruin", findings=critique(result))
    assert result.equity.iloc[-1] == 0.0 and sheet.figures["equity"].layout.yaxis.type == "linear"
    assert [trace.name for trace in sheet.figures["equity"].data] == ["equity", "liquidation", "drawdown"]
    assert "Infinity" not in embedded(sheet.html, "figures") and "NaN" not in embedded(sheet.html, "figures")


def test_numbers_on_the_page_are_the_result_s(result):
    text = _Page(tearsheet(result, title="plain").html).text
    metrics = result.metrics()
    for value in (f"{metrics['total_return']:+.1%}", f"{metrics['sharpe_ratio']:.2f}", f"{metrics['n_trades']:,.0f}"):
        assert value in text


def test_the_waterfall_falls_from_gross_to_net(result):
    bars = tearsheet(result, title="plain").figures["waterfall"].data[0]
    assert list(bars.x) == ["gross", "fees", "slippage", "liquidation", "funding", "net"]
    assert list(bars.y) == pytest.approx(decompose(result).iloc[0][list(bars.x)].tolist())
    assert sum(bars.y[:-1]) == pytest.approx(bars.y[-1]) and bars.y[-1] == pytest.approx(result.equity.iloc[-1] - 10_000.0)


def test_histogram_counts_everything_once_and_parts_at_zero():
    values = np.append(np.random.default_rng(0).normal(0.01, 0.02, 999), 5.0)
    drawn = figures.histogram(values, {"mean": 0.01}, "return", ".1%")
    centres, counts = np.array(drawn.data[0].x), np.array(drawn.data[0].y)
    assert counts.sum() == 1000 and counts[centres > 0].sum() == (values > 0).sum() and centres.max() < 0.1


@pytest.mark.parametrize("values", [[0.02], [0.0, 0.0], [-3.0, -3.0]])
def test_histogram_of_one_value(values):
    drawn = figures.histogram(np.array(values), {}, "return")
    assert sum(drawn.data[0].y) == len(values)


def test_many_trades_are_sampled_and_the_largest_kept(result):
    many = pd.concat([result.trades] * 40, ignore_index=True)
    many.loc[123, "return"] = 9.0
    drawn = figures.holding(many, pd.Timedelta("1h"))
    assert sum(len(trace.y) for trace in drawn.data) == figures.SHOWN
    assert max(max(trace.y) for trace in drawn.data) == 9.0


def test_a_long_result_gives_a_small_page():
    bars = sample_bars(200_000)
    result = simulate(bars, sample_target(bars), account=Account(10_000.0, 3.0), costs=COSTS)
    assert len(result.trades) > 5000
    drawn = embedded(tearsheet(result, title="long").html, "figures")
    assert len(drawn) < 1_500_000


def test_written_whole_and_its_size_told(full, tmp_path):
    size = full.write(tmp_path / "new" / "sheet.html")
    assert size == (tmp_path / "new" / "sheet.html").stat().st_size == len(full.html.encode())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["sheet.html"]
    assert 1_500_000 < size < 4_000_000


def test_the_page_is_the_same_twice(result):
    assert tearsheet(result, title="plain").html == tearsheet(result, title="plain").html


def test_importing_is_cheap():
    import subprocess
    import sys

    code = (
        "import sys, quantalpha.backtest.report; print([m for m in ('plotly', 'matplotlib', 'vectorbt', 'quantstats') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
