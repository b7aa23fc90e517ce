"""The histogram of latencies: quantiles within one per cent, merging without loss, forms that others read."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from quantalpha.errors import DataError
from quantalpha.runner import latency
from quantalpha.runner.events import InstructionEvent
from quantalpha.runner.latency import GROWTH, LONGEST, SHORTEST, Histogram, Stopwatch

durations = st.lists(st.floats(SHORTEST, LONGEST), min_size=1, max_size=200)


def of(values) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


def same(one: Histogram, other: Histogram) -> bool:
    exact = one.buckets == other.buckets and (one.count, one.least, one.greatest) == (other.count, other.least, other.greatest)
    return exact and math.isclose(one.total, other.total)


@given(durations, st.floats(0, 1))
def test_a_quantile_is_the_value_of_its_rank_within_one_per_cent(values, share):
    rank = max(1, math.ceil(share * len(values)))
    assert of(values).quantile(share) == pytest.approx(sorted(values)[rank - 1], rel=0.01)


@given(durations, durations)
def test_merged_histograms_are_that_of_all_values(one, other):
    merged = of(one)
    merged.merge(of(other))
    assert same(merged, of(one + other))


@given(durations)
def test_written_as_json_it_reads_back(values):
    made = of(values)
    assert same(Histogram.from_dict(json.loads(json.dumps(made.to_dict()))), made)


@given(durations)
def test_prometheus_reads_its_text(values):
    (family,) = text_string_to_metric_families(of(values).prometheus("order_seconds"))
    buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
    counts = [sample.value for sample in buckets]
    assert family.type == "histogram" and counts == sorted(counts) and counts[-1] == len(values) and buckets[-1].labels["le"] == "+Inf"
    for sample in buckets:
        edge = float(sample.labels["le"])
        assert sum(v * GROWTH <= edge for v in values) <= sample.value <= sum(v <= edge * GROWTH for v in values)


def test_the_extremes_are_exact_and_what_lies_beyond_the_range_is_counted():
    made = of([0.0, 3e-7, 0.5, 1000.0])
    assert (made.quantile(0), made.quantile(1), made.count) == (pytest.approx(SHORTEST, rel=0.01), 1000.0, 4)
    made.record(2000.0)
    assert made.quantile(0.8) == pytest.approx(LONGEST, rel=0.02)
    assert (made.least, made.greatest) == (0.0, 2000.0)


@pytest.mark.parametrize("value", [-1e-9, math.nan, math.inf])
def test_what_is_no_duration_is_refused(value):
    with pytest.raises(DataError, match="expected seconds"):
        Histogram().record(value)


def test_an_empty_one_says_nothing_and_can_be_kept(tmp_path):
    empty = Histogram()
    assert math.isnan(empty.quantile(0.5)) and math.isnan(empty.mean)
    empty.write(tmp_path)
    kept = latency.read(tmp_path)
    kept.merge(of([0.001]))
    assert same(kept, of([0.001]))


def test_a_damaged_file_is_refused(tmp_path):
    of([0.001, 0.002]).write(tmp_path)
    text = (tmp_path / latency.FILE).read_text()
    (tmp_path / latency.FILE).write_text(text.replace('"count": 2', '"count": 3'))
    with pytest.raises(DataError, match="damaged"):
        latency.read(tmp_path)


def test_people_read_milliseconds():
    text = str(of([0.001] * 99 + [0.02]))
    assert "100 values, ms: mean 1.190" in text and "p99 1.00" in text and text.endswith("max 20.000")
    assert [row["share"] for row in of([1.0]).rows()] == ["50 %", "90 %", "99 %", "99.9 %", "100 %"]


def order(symbol: str, bar: int, purpose: str = "order") -> InstructionEvent:
    told = {"client_id": "c", "parent": "p", "action": "place", "kind": "market", "quantity": 1.0, "price": None, "reduce_only": False}
    return InstructionEvent(event_time=bar, recv_time=bar, symbol=symbol, bar=bar, purpose=purpose, **told)


def test_the_first_order_of_each_symbol_is_timed_from_the_last_close_of_its_bar(tmp_path):
    times = iter([7_000_000, 8_000_000, 500, 31_000_000])
    watch = Stopwatch(lambda: next(times))
    watch.write(tmp_path)
    assert not list(tmp_path.iterdir())
    watch.closed(1, 1_000_000)
    watch.closed(1, 2_000_000)  # the other symbol's, for which both waited
    for each in (order("A", 1), order("A", 1), order("B", 1, "protection"), order("B", 1), order("B", 0)):
        watch.written(each)
    assert watch.histogram.count == 2 and watch.histogram.total == pytest.approx(0.011)
    watch.closed(2, 1_000)
    watch.written(order("A", 2))  # the machine's clock was set back meanwhile
    watch.closed(3, 1_000_000)
    watch.written(order("A", 3))
    assert watch.histogram.count == 3 and watch.histogram.greatest == pytest.approx(0.030)
    watch.write(tmp_path)
    watch.write(tmp_path)  # a session that went on
    assert latency.read(tmp_path).count == 6
