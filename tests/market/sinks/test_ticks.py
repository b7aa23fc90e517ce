"""Live ticks through a real Redis: in order, once each, bounded, and its absence never reaches who publishes."""

import json
import os
import subprocess
import time
from contextlib import contextmanager

import pytest
import redis
import services
from workspace import free_port

from quantalpha import config
from quantalpha.errors import ExchangeError
from quantalpha.market.sinks import RedisTicks, read_ticks
from quantalpha.market.ticks import Bar, Depth, Mark, Quote, Recorder, Trade, publisher
from quantalpha.market.ticks.messages import KIND


@pytest.fixture
def url(urls) -> str:
    return urls["QUANTALPHA_REDIS_URL"]


@pytest.fixture
def stream() -> str:
    return f"binanceusdm:{os.urandom(6).hex()}:trades"


def until(true, seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.01)


def numbers(url: str, stream: str, after: str = "0") -> list[int]:
    return [int(fields["n"]) for _, _, fields in read_ticks(url, {stream: after}, wait=0.3)]


def test_ticks_arrive_in_order_and_exactly(url, stream):
    ticks = RedisTicks(url)
    for n in range(5_000):
        ticks.publish(stream, {"n": n, "price": 1 / (n + 1), "side": "buy"})
    ticks.close()
    found = list(read_ticks(url, {stream: "0"}, wait=0.3))
    assert [int(fields["n"]) for _, _, fields in found] == list(range(5_000))
    assert [float(fields["price"]) for _, _, fields in found] == [1 / (n + 1) for n in range(5_000)]
    assert {name for name, _, _ in found} == {stream} and found[0][2]["side"] == "buy"
    assert (ticks.sent, ticks.dropped, ticks.waiting) == (5_000, 0, 0)


def test_a_reader_resumes_behind_what_it_has_read(url, stream):
    with_rest = RedisTicks(url)
    for n in range(100):
        with_rest.publish(stream, {"n": n})
    with_rest.close()
    reader = read_ticks(url, {stream: "0"}, wait=0.3)
    seen = [next(reader) for _ in range(40)]
    assert numbers(url, stream, after=seen[-1][1]) == list(range(40, 100))
    assert numbers(url, stream, after="$") == []


def test_a_stream_is_trimmed_and_a_second_run_goes_on_behind_the_first(url, stream):
    for first in (0, 3_000):
        ticks = RedisTicks(url, length=1_000)
        for n in range(first, first + 3_000):
            ticks.publish(stream, {"n": n})
        ticks.close()
    found = numbers(url, stream)
    assert found == list(range(6_000 - len(found), 6_000)) and 1_000 <= len(found) < 1_300


def test_a_clock_behind_the_stream_loses_nothing(url, stream):
    ahead = f"{(time.time_ns() // 1_000_000) + 3_600_000}-5"
    with redis.Redis.from_url(url) as client:
        client.xadd(stream, {"n": 0}, id=ahead)
    ticks = RedisTicks(url)
    for n in range(1, 50):
        ticks.publish(stream, {"n": n})
    ticks.close()
    assert numbers(url, stream) == list(range(50)) and ticks.dropped == 0


def test_an_answer_that_is_lost_doubles_nothing(url, stream, monkeypatch):
    """Redis has the batch, the answer does not come, the batch is sent again."""
    sound, lost = redis.client.Pipeline.execute, []

    def execute(self, *args, **options):
        answers = sound(self, *args, **options)
        if len(lost) < 3:
            lost.append(len(answers))
            raise redis.TimeoutError("the answer is lost")
        return answers

    monkeypatch.setattr(redis.client.Pipeline, "execute", execute)
    monkeypatch.setattr("quantalpha.market.sinks.ticks.PAUSE", 0.01)
    said: list[str] = []
    ticks = RedisTicks(url, tell=said.append)
    for n in range(2_500):
        ticks.publish(stream, {"n": n})
    ticks.close()
    assert len(lost) == 3 and numbers(url, stream) == list(range(2_500)) and ticks.dropped == 0
    assert "cannot be reached" in said[0] and said[-1] == "redis ticks: sending; 0 entries dropped in all"


@contextmanager
def own_redis(port: int, folder):
    command = [str(services.binary("redis-server")), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def test_redis_away_costs_the_oldest_ticks_and_says_so(urls, stream, tmp_path, monkeypatch):
    monkeypatch.setattr("quantalpha.market.sinks.ticks.PAUSE", 0.02)
    port, said = free_port(), []
    ticks = RedisTicks(f"redis://127.0.0.1:{port}/0", capacity=1_000, tell=said.append)
    for n in range(5_000):
        ticks.publish(stream, {"n": n})
    until(lambda: said)
    assert ticks.dropped == 4_000 and "cannot be reached" in said[0] and len(said) == 1
    with own_redis(port, tmp_path):
        until(lambda: ticks.waiting == 0)
        assert numbers(f"redis://127.0.0.1:{port}/0", stream) == list(range(4_000, 5_000))
        ticks.close()
    assert said[1] == "redis ticks: sending; 4000 entries dropped in all" and (ticks.sent, ticks.dropped) == (1_000, 4_000)


def test_what_is_unsent_at_the_end_is_told(monkeypatch):
    said = []
    ticks = RedisTicks(f"redis://127.0.0.1:{free_port()}/0", tell=said.append)
    ticks.publish("s", {"n": 1})
    ticks.close(timeout=0.2)
    assert ticks.dropped == 1 and "1 entries unsent" in said[-1]


@pytest.mark.parametrize("fields", [{}, {"n": None}, {"n": [1]}, {"n": True}])
def test_an_entry_that_is_none_is_dropped_and_told_and_the_others_go(url, stream, fields):
    said = []
    ticks = RedisTicks(url, tell=said.append)
    for entry in ({"n": 1}, fields, {"n": 2}):
        ticks.publish(stream, entry)
    ticks.close()
    assert numbers(url, stream) == [1, 2] and ticks.dropped == 1 and "text or a number" in said[0]


def test_a_reader_tells_that_redis_is_away():
    with pytest.raises(ExchangeError, match="cannot be reached"):
        next(read_ticks(f"redis://127.0.0.1:{free_port()}/0", {"s": "0"}))


def test_what_is_recorded_is_published_with_all_it_says(url, tmp_path):
    """Each kind of message, through a recorder, with the numbers that the files hold."""
    symbol = f"T{os.urandom(4).hex().upper()}"
    messages = [
        Quote(symbol, 1, 2, 3, 100.1, 0.3, 100.2, 1 / 3),
        Depth(symbol, 1, 2, 3, 4, 2, [["100.1", "0.3"]], [], 0),
        Trade(symbol, 5, 6, 7, 100.15, 0.1, -1),
        Mark(symbol, 5, 6, 100.1, 100.2, 0.0001, 8),
        Bar(symbol, 60_000, 120_000, "1m", 1.0, 2.0, 0.5, 1.5, 10.0, True),
    ]
    ticks = RedisTicks(url)
    recorder = Recorder(tmp_path, (symbol,), config.load("demo").stream, publisher("practice", ticks.publish))
    for number, message in enumerate(messages):
        recorder.add(number, message)
    recorder.add(9, messages[-1]._replace(closed=False))  # not recorded, so not published
    recorder.close()
    ticks.close()
    streams = {f"practice:{symbol}:{KIND[type(message)]}": "0" for message in messages}
    found = {stream: fields for stream, _, fields in read_ticks(url, streams, wait=0.3)}
    assert {name.split(":")[2] for name in found} == {"book", "depth", "trades", "mark", "bars"} and ticks.sent == 5
    told = {name.split(":")[2]: fields for name, fields in found.items()}
    assert float(told["book"]["ask_qty"]) == 1 / 3 and told["trades"]["side"] == "-1" and told["bars"]["closed"] == "1"
    assert json.loads(told["depth"]["bids"]) == [["100.1", "0.3"]] and told["mark"]["received"] == "3"
