"""`quantalpha data record` as its user meets it: against the practice exchange, ended by Ctrl-C."""

import json
import signal
import subprocess
import sys
import time

import pytest
from workspace import Workspace, free_port, words

from quantalpha.market.ticks import read_ticks


@pytest.fixture
def exchange(tmp_path):
    """A workspace, and an exchange at ten hours a second beside it."""
    space, port = Workspace(tmp_path / "space"), free_port()
    told = words({"synthetic.bars": 3000, "exchange.now": "2021-02-20"})
    command = [sys.executable, "-m", "quantalpha", "exchange", "--port", str(port), "--speed", "36000", *told]
    process = subprocess.Popen(command, cwd=space.root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout.readline().startswith("practice exchange")
        address = {"venue.rest_url": f"http://127.0.0.1:{port}", "venue.ws_url": f"ws://127.0.0.1:{port}", "venue.source": "here"}
        yield space, words(address | {"stream.bar": "1h", "stream.flush": 0.2})
    finally:
        process.kill()
        process.wait()


def test_it_records_until_interrupted_and_tells_what_came(exchange):
    space, settings = exchange
    command = [
        sys.executable,
        "-m",
        "quantalpha",
        "data",
        "record",
        "--symbol",
        "BTCUSDT",
        "--stream",
        "trades",
        "--stream",
        "book",
        "--json",
    ]
    process = subprocess.Popen([*command, *settings], cwd=space.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder = space.root / "data" / "ticks" / "here"
    for _ in range(300):
        if list(folder.rglob("*.parquet")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0 and said == "", said
    told = json.loads(out)
    assert {row["kind"] for row in told["channels"]} == {"trades", "book"} and {"skew_ms", "overflows", "reconnects"} <= told.keys()
    assert len(read_ticks(folder, "BTCUSDT", "trades")) + len(read_ticks(folder, "BTCUSDT", "book")) == told["rows"] > 0


def test_what_it_cannot_record_is_said(exchange):
    space, settings = exchange
    space.run("data", "record", "--stream", "candles").complains(2, "stream.kinds", "candles")
    space.run("data", "record", "--symbol", "BTCUSD", *settings).complains(2, "no linear perpetual 'BTCUSD'", "BTCUSDT")


@pytest.mark.parametrize("symbol", ["../../escaped", "btcusdt", "BTC/USDT", ""])
def test_what_is_no_symbol_is_refused_before_a_folder_is_made(tmp_path, symbol):
    space = Workspace(tmp_path / "space")
    before = set(tmp_path.rglob("*"))
    space.run("data", "record", "--symbol", symbol).complains(2, "data.symbols", symbol)
    assert not [path for path in set(tmp_path.rglob("*")) - before if path.name in ("ticks", "escaped", "btcusdt")]
