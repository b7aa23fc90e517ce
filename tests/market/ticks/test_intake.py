"""Frames of both venues in, messages out, each once and in order; what went wrong is counted."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha.errors import ExchangeError
from quantalpha.market.ticks.binance import Binance
from quantalpha.market.ticks.bybit import Bybit
from quantalpha.market.ticks.health import Channel, Clock, Health, Histogram
from quantalpha.market.ticks.intake import Intake
from quantalpha.market.ticks.messages import CHANGES, FETCHED, KIND, STREAMED, Bar, Depth, Mark, Quote, Trade
from quantalpha.market.ticks.record import _parquet
from quantalpha.market.ticks.sequence import Named, Numbered

# ruff: noqa: E501 - messages stand on one line, as venues send them
MS = 1_000_000

# Shapes as the venues' documents give them: developers.binance.com, bybit-exchange.github.io/docs/v5.
BINANCE = {
    '{"e":"bookTicker","u":400900217,"E":1568014460893,"T":1568014460891,"s":"BNBUSDT","b":"25.35","B":"31.2","a":"25.36","A":"40.6"}': Quote(
        "BNBUSDT", 1568014460891, 1568014460893, 400900217, 25.35, 31.2, 25.36, 40.6
    ),
    '{"e":"depthUpdate","E":123456789,"T":123456788,"s":"BTCUSDT","U":157,"u":160,"pu":149,"b":[["0.0024","10"]],"a":[]}': Depth(
        "BTCUSDT", 123456788, 123456789, 157, 160, 149, [["0.0024", "10"]], []
    ),
    '{"e":"aggTrade","E":123456789,"s":"BTCUSDT","a":5933014,"p":"0.001","q":"100","f":100,"l":105,"T":123456785,"m":true}': Trade(
        "BTCUSDT", 123456785, 123456789, 5933014, 0.001, 100.0, -1
    ),
    '{"e":"markPriceUpdate","E":15,"s":"BTCUSDT","p":"11794.15","i":"11784.62","P":"11784.25","r":"0.00038167","T":16}': Mark(
        "BTCUSDT", 15, 15, 11794.15, 11784.62, 0.00038167, 16
    ),
    '{"stream":"x","data":{"e":"kline","E":9,"s":"BTCUSDT","k":{"t":0,"T":59999,"i":"1m","o":"1","c":"2","h":"3","l":"0.5","v":"7","x":true}}}': Bar(
        "BTCUSDT", 0, 9, "1m", 1.0, 3.0, 0.5, 2.0, 7.0, True
    ),
}
LEVEL1 = '{"topic":"orderbook.1.BTCUSDT","type":"snapshot","ts":12,"data":{"s":"BTCUSDT","b":[["1","2"]],"a":[["3","4"]],"u":7,"seq":9},"cts":11}'
BYBIT = {
    LEVEL1: Quote("BTCUSDT", 11, 12, 7, 1.0, 2.0, 3.0, 4.0),
    LEVEL1.replace("orderbook.1", "orderbook.200"): Depth("BTCUSDT", 11, 12, 7, 7, 6, [["1", "2"]], [["3", "4"]], STREAMED),
    LEVEL1.replace("orderbook.1", "orderbook.200").replace("snapshot", "delta"): Depth(
        "BTCUSDT", 11, 12, 7, 7, 6, [["1", "2"]], [["3", "4"]], CHANGES
    ),
    '{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":5,"data":[{"T":4,"s":"BTCUSDT","S":"Sell","v":"0.1","p":"16578","i":"20f43950","BT":false}]}': Trade(
        "BTCUSDT", 4, 5, "20f43950", 16578.0, 0.1, -1
    ),
    '{"topic":"kline.60.BTCUSDT","type":"snapshot","ts":8,"data":[{"start":0,"end":3599999,"interval":"60","open":"1","close":"2","high":"3","low":"0.5",'
    '"volume":"7","turnover":"9","confirm":false,"timestamp":8}]}': Bar("BTCUSDT", 0, 8, "1h", 1.0, 3.0, 0.5, 2.0, 7.0, False),
}


@pytest.mark.parametrize("raw", BINANCE)
def test_binance_is_understood(raw):
    assert Binance().decode(raw) == [BINANCE[raw]]


@pytest.mark.parametrize("raw", BYBIT)
def test_bybit_is_understood(raw):
    assert Bybit().decode(raw) == [BYBIT[raw]]


def test_bybits_tickers_tell_only_what_changed():
    bybit, head = Bybit(), '{"topic":"tickers.BTCUSDT","ts":%d,"type":"%s","data":{"symbol":"BTCUSDT",%s}}'
    assert bybit.decode(head % (1, "delta", '"markPrice":"5"')) == []  # before the first snapshot too little is known
    first = '"markPrice":"10","indexPrice":"11","fundingRate":"0.0001","nextFundingTime":"99"'
    assert bybit.decode(head % (2, "snapshot", first)) == [Mark("BTCUSDT", 2, 2, 10.0, 11.0, 0.0001, 99)]
    assert bybit.decode(head % (3, "delta", '"markPrice":"12"')) == [Mark("BTCUSDT", 3, 3, 12.0, 11.0, 0.0001, 99)]


@pytest.mark.parametrize("decoder", [Binance(), Bybit()])
def test_malformed_frames_are_counted_and_harm_nothing(decoder):
    intake = Intake(decoder, Health(9.0), "1m")
    bad = [
        "",
        "nonsense",
        "[]",
        "3",
        '{"e":"aggTrade"}',
        '{"topic":"orderbook.1.X","type":"delta","ts":1,"data":{"s":"X","b":[],"a":[]}}',
        b"\xff\xfe",
    ]
    assert [intake.take(raw, 0) for raw in bad] == [[]] * len(bad)
    assert intake.health.malformed >= 5 and not intake.wanted()


REFUSALS = ('{"error":{"code":2,"msg":"no such"},"id":1}', '{"success":false,"ret_msg":"no such topic","op":"subscribe"}')


@pytest.mark.parametrize(("decoder", "raw"), zip((Binance(), Bybit()), REFUSALS))
def test_a_refused_subscription_is_no_silence(decoder, raw):
    with pytest.raises(ExchangeError, match="refused a subscription: .*no such.*; check symbols"):
        Intake(decoder, Health(9.0), "1m").take(raw, 0)


def trade(number, time=None) -> Trade:
    time = number if time is None else time
    return Trade("BTCUSDT", time, time, number, 1.0, 1.0, 1)


def agg(number: int) -> bytes:
    return orjson.dumps({"e": "aggTrade", "E": number, "s": "BTCUSDT", "a": number, "p": "1", "q": "1", "T": number, "m": False})


def test_trades_after_a_hole_wait_for_what_was_missed():
    intake = Intake(Binance(), Health(9.0), "1m", {("BTCUSDT", "trades"): 10})
    assert intake.take(agg(11), 0) == [trade(11)]
    assert intake.take(agg(14), 0) == [] == intake.take(agg(14), 0) and intake.wanted() == [("BTCUSDT", "trades")]
    assert [each.id for each in intake.mend("BTCUSDT", "trades", [trade(n) for n in (12, 13, 14)])] == [12, 13, 14]
    assert not intake.wanted() and [each.id for each in intake.take(agg(15), 0)] == [15]
    channel = intake.health.channel("BTCUSDT", "trades")
    assert (channel.gaps, channel.backfilled, channel.lost, channel.duplicates) == (1, 2, 0, 1)


@given(st.permutations(range(8)), st.lists(st.integers(0, 7), max_size=5))
def test_disorder_and_doubles_cost_nothing(order, again):
    """Whatever the order of arrival, everything comes out once, in order, without REST."""
    sequence, found = Numbered(Channel(), 1, last=-1), []
    for number in [*order[:4], *again, *order[4:], *again]:
        found += sequence.take(trade(number))
    assert [each.id for each in found] == list(range(8)) and not sequence.broken and sequence.channel.lost == 0


@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)))
def test_what_neither_stream_nor_rest_has_is_told_as_lost(streamed, fetched):
    sequence = Numbered(Channel(), 1, last=0)
    found = [each for number in sorted(streamed) for each in sequence.take(trade(number))]
    found += sequence.mend([trade(number) for number in fetched])
    came = [each.id for each in found]
    assert came == sorted(streamed | fetched) and sequence.channel.lost == max(came, default=0) - len(came)


def test_trades_without_numbers_are_mended_by_time_and_name():
    sequence = Named(Channel())
    assert len(sequence.take(trade("a", 1))) == 1 and sequence.take(trade("a", 1)) == []
    sequence.lose()
    assert sequence.take(trade("d", 4)) == [] and sequence.broken
    mended = sequence.mend([trade("a", 1), trade("b", 1), trade("c", 3), trade("d", 4)])
    assert [each.id for each in mended] == ["b", "c", "d"] and sequence.channel.lost == 0
    sequence.lose()
    sequence.mend([trade("z", 50)])
    assert sequence.channel.lost == 1  # what was fetched does not reach back to the last one known


def depth(first, last, previous, **levels) -> bytes:
    sides = {"b": levels.get("b", []), "a": levels.get("a", [])}
    return orjson.dumps({"e": "depthUpdate", "E": last, "T": last, "s": "BTCUSDT", "U": first, "u": last, "pu": previous} | sides)


def test_a_hole_in_the_depth_asks_for_a_snapshot_and_is_counted():
    intake = Intake(Binance(), Health(9.0), "1m")
    intake.take(depth(1, 2, 0), 0)
    assert intake.wanted() == [("BTCUSDT", "depth")]
    assert intake.snapshot(Depth("BTCUSDT", 1, 1, 1, 1, 1, [[10, 1]], [[11, 1]], FETCHED)) and not intake.wanted()
    intake.take(depth(9, 10, 8), 0)
    assert intake.wanted() == [("BTCUSDT", "depth")] and not intake.books["BTCUSDT"].synced
    assert not intake.snapshot(Depth("BTCUSDT", 1, 1, 5, 5, 5, [], [], FETCHED))  # too old: again
    assert intake.snapshot(Depth("BTCUSDT", 1, 1, 9, 9, 9, [[10, 1]], [[11, 1]], FETCHED))
    intake.take(depth(11, 11, 10, b=[["12", "1"]]), 0)  # a bid above the ask
    assert intake.wanted() == [("BTCUSDT", "depth")]
    channel = intake.health.channel("BTCUSDT", "depth")
    assert (channel.gaps, channel.resyncs, channel.messages) == (2, 2, 3)


def test_a_broken_line_voids_only_what_it_carried():
    intake = Intake(Binance(), Health(9.0), "1m")
    intake.take(depth(1, 2, 0), 0)
    intake.snapshot(Depth("BTCUSDT", 1, 1, 2, 2, 2, [[10, 1]], [[11, 1]], FETCHED))
    intake.lose(("trades", "mark"))
    assert intake.books["BTCUSDT"].synced
    intake.lose(("depth",))
    assert not intake.books["BTCUSDT"].synced and intake.books["BTCUSDT"].apply(Depth("BTCUSDT", 3, 3, 3, 3, 2, [], [])) == "waiting"


BAD_DEPTH = [
    {"b": [["x", "1"]]},
    {"b": [["99"]]},
    {"a": [["nan", "1"]]},
    {"a": [["inf", "1"]]},
    {"b": [["99", "-1"]]},
    {"b": None},
    {"u": "x"},
    {"u": 12.5},
    {"U": None},
    {"pu": "10"},
    {"E": None},
    {"T": None},
    {"T": 2**62},
    {"s": None},
]


@pytest.mark.parametrize("bad", BAD_DEPTH)
@pytest.mark.parametrize("synced", [True, False])
def test_a_malformed_change_is_counted_and_the_book_goes_on_only_from_a_snapshot(bad, synced):
    intake = Intake(Binance(), Health(9.0), "1m")
    intake.take(depth(9, 10, 8), 0)
    whole = Depth("BTCUSDT", 1, 1, 10, 10, 10, [["100", "1"]], [["101", "1"]], FETCHED)
    assert not synced or intake.snapshot(whole)
    assert intake.take(orjson.dumps(orjson.loads(depth(11, 12, 10, b=[["99", "1"]])) | bad), 0) == [] and intake.health.malformed == 1
    intake.take(depth(13, 14, 12), 0)
    assert intake.wanted() == [("BTCUSDT", "depth")]
    assert intake.snapshot(whole._replace(first=13, last=13, previous=13)) and intake.books["BTCUSDT"].last == 14


def test_a_malformed_snapshot_is_counted_and_asked_for_again():
    intake = Intake(Binance(), Health(9.0), "1m")
    intake.take(depth(9, 10, 8), 0)
    assert not intake.snapshot(Depth("BTCUSDT", 1, 1, 10, 10, 10, [["100", None]], [], FETCHED))
    assert intake.health.malformed == 1 and intake.wanted() == [("BTCUSDT", "depth")]


def test_a_malformed_frame_of_a_venue_whose_trades_have_no_numbers_voids_what_it_may_have_held():
    intake = Intake(Bybit(), Health(9.0), "1m")
    head = '{"topic":"orderbook.200.BTCUSDT","type":"%s","ts":1,"data":{"s":"BTCUSDT","b":[["%s","1"]],"a":[["11","1"]],"u":%d},"cts":1}'
    printed = '{"topic":"publicTrade.BTCUSDT","ts":5,"data":[{"T":%d,"s":"BTCUSDT","S":"Sell","v":"%s","p":"10","i":"%s"}]}'
    intake.take(head % ("snapshot", "10", 900), 0)
    assert len(intake.take(printed % (4, "1", "a"), 0)) == 1 and not intake.wanted()
    assert intake.take(printed % (5, "nan", "b"), 0) == []
    assert intake.take(head % ("snapshot", "x", 1), 0) == [] and intake.health.malformed == 2
    intake.take(head % ("delta", "10", 2), 0)
    assert intake.take(printed % (6, "1", "c"), 0) == []  # waits for REST
    assert sorted(intake.wanted()) == [("BTCUSDT", "depth"), ("BTCUSDT", "trades")]


ODD = st.sampled_from([None, True, -1, 0.5, 2**63, 1e308, "", "x", "nan", "inf", "-1", [], ["1"], [["1"]], [["nan", "1"]], {}, {"s": "X"}])


def spots(value, path=()):
    """Paths to everything inside a decoded frame."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(spot for key, each in inside for spot in spots(each, (*path, key)))]


@given(st.data())
def test_whatever_stands_in_a_frame_nothing_escapes_and_what_comes_out_can_be_kept(data):
    decoder, frames = data.draw(st.sampled_from([(Binance, list(BINANCE)), (Bybit, list(BYBIT))]))
    intake = Intake(decoder(), Health(9.0), "1m")
    for raw in data.draw(st.lists(st.sampled_from(frames), min_size=1, max_size=6)):
        frame = orjson.loads(raw)
        spot = data.draw(st.sampled_from(spots(frame)[1:]))
        inner = frame
        for key in spot[:-1]:
            inner = inner[key]
        inner[spot[-1]] = data.draw(ODD)
        try:
            found = intake.take(orjson.dumps(frame), 0)
        except ExchangeError:
            continue  # a refusal
        for message in found:
            assert type(message.time) is type(message.event) is int and type(message.symbol) is str
            assert _parquet(KIND[type(message)], [(0, *message[1:])])


@given(st.lists(st.floats(-5.0, 1e7), min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.99]))
def test_a_histograms_quantile_is_right_to_its_bins(values, q):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(0, -int(-q * len(values) // 1) - 1)]
    if 0.01 < exact < 0.01 * 2.7**19.8:
        assert exact * 0.999 <= histogram.quantile(q) <= max(exact, 0.01) * 1.06
    assert sum(histogram.counts) == histogram.total == len(values)


def test_the_quickest_answer_tells_the_clock():
    clock = Clock()
    for asked, trip, late in ((0, 100, 90), (1_000, 4, 2), (2_000, 60, 10)):
        clock.sample(asked, asked + late + 1_300.0, asked + trip)  # a venue 1.3 s ahead; the way there takes `late` of `trip`
    assert clock.skew == pytest.approx(1_300.0) and clock.error == 2.0
    health = Health(stale=5.0)
    health.clock = clock
    health.received(health.channel("BTCUSDT", "mark"), event_ms=11_300, received_ns=10_007 * MS)  # 7 ms on the way
    row = health.rows(now_ns=10_007 * MS + 6_000 * MS, seconds=2.0)[0]
    assert row["p50_ms"] == pytest.approx(7.0, rel=0.06) and row["stale"] and row["age_s"] == 6.0
