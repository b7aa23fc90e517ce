"""How long `quantalpha kill` takes from another terminal, while the session itself answers nobody.

    python benchmarks/kill.py [runs]

Two positions, each with its stop and an order that could still enter, at a practice exchange on this machine: as it is, and with every
answer 100 ms late. Seconds from the command to the latch, to an account that is flat by the exchange's own books, and to the
command's word that the venue has confirmed it; beside them what starting Python and loading ccxt take alone.
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from quantalpha import config
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.practice import Faults, Tape, TradingFaults
from quantalpha.practice.background import played
from quantalpha.practice.keys import KEY
from quantalpha.practice.server import Server
from quantalpha.runner.accounts import AccountFolder
from quantalpha.runner.emergency import Desk, desk_of
from quantalpha.runner.events import InstructionEvent

ROOT = Path(__file__).parents[1]
ACCOUNT, SYMBOLS = "rehearse-practice", ("BTCUSDT", "ETHUSDT")
GOAL = 2.0  # seconds
LATE = 0.1  # seconds
LOOK = 0.002  # seconds between looks at the books


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    alone = {"the command line": "import quantalpha.cli", "ccxt": "import ccxt.async_support"}
    for name, code in alone.items():
        print(f"{name:24} loaded in {statistics.median(taken(code) for _ in range(runs)):.2f} s")
    print(f"{runs:<24} {'latched':>8} {'flat':>8} {'said':>8}  seconds, median (largest)")
    slowest = max(shown("answers at once", runs, Faults()), shown(f"answers {LATE:g} s late", runs, late()))
    print(f"slowest {slowest:.2f} s, aim {GOAL:g} s")


def taken(code: str) -> float:
    """Seconds of a Python that does this and ends."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.monotonic() - started


def late() -> Faults:
    """Every answer, whatever was asked."""
    parts = {where: TradingFaults({"late_answer": 1.0}, seconds=LATE, where=where) for where in ("trading", "account")}
    return Faults({"delay": 1.0}, seconds=LATE, **parts)


def shown(title: str, runs: int, faults: Faults) -> float:
    """One line; the slowest kill."""
    settings = config.load("demo").synthetic.model_copy(update={"bars": 600})
    tape = Tape({symbol: synthetic_bars(symbol, settings) for symbol in SYMBOLS})
    with tempfile.TemporaryDirectory() as folder, played(tape, speed=1.0, faults=faults) as server:
        times = list(zip(*(killed(server, Path(folder)) for _ in range(runs))))
    print(f"{title:24} " + " ".join(f"{statistics.median(each):4.2f} ({max(each):.2f})" for each in times))
    return max(times[-1])


def killed(server: Server, root: Path) -> tuple[float, float, float]:
    """Seconds to the latch, to flat books, to the end of the command."""
    shutil.copy(ROOT / "params.yaml", root)
    account, card = AccountFolder(ACCOUNT, root / "data/accounts"), card_of(server)
    asyncio.run(opened(card))
    with account.hold(card):
        latched, flat, said = watched(server, account, root)
    account.latch.reset("the next run")
    return latched, flat, said


def watched(server: Server, account: AccountFolder, root: Path) -> tuple[float, float, float]:
    started, flat = time.time(), None
    command = [sys.executable, "-m", "quantalpha", "kill", "--account", ACCOUNT, "--json"]
    process = subprocess.Popen(command, env=os.environ | {"QUANTALPHA_ROOT": str(root)}, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(LOOK)
        flat = time.time() if flat is None and is_flat(server) else flat
    said = time.time()
    if process.returncode or flat is None:
        raise SystemExit(f"kill ended with exit code {process.returncode}, flat: {flat is not None}")
    latched = (account.path / "latch.json").stat().st_mtime
    return latched - started, flat - started, said - started


def is_flat(server: Server) -> bool:
    desk = server.binance.desks[KEY]
    return not desk.records.working and not any(float(desk.account.position(symbol).quantity) for symbol in SYMBOLS)


def card_of(server: Server) -> dict:
    """What a session would have written of itself."""
    venue = config.load("demo").venue.model_dump(mode="json") | {"rest_url": server.url, "ws_url": server.ws_url}
    return {"mode": "rehearse", "venue": venue, "symbols": list(SYMBOLS), "session": "hanging", "params": {}}


async def opened(card: dict) -> None:
    async with desk_of(card) as desk:
        for symbol in SYMBOLS:
            await opened_in(desk, symbol)


async def opened_in(desk: Desk, symbol: str) -> None:
    await desk.place(instruction(symbol, "market", 0.1))
    mark = (await desk.account()).positions[symbol].mark
    await desk.place(instruction(symbol, "stop", -0.1, round(mark * 0.9, 1), reduce_only=True))
    await desk.place(instruction(symbol, "limit", 0.1, round(mark * 0.96, 1)))


def instruction(symbol: str, kind: str, quantity: float, price: float | None = None, reduce_only: bool = False) -> InstructionEvent:
    times, name = {"event_time": 0, "recv_time": 0, "symbol": symbol, "bar": 0}, f"qa-{time.time_ns():x}"
    order = {"client_id": name, "parent": "", "action": "place", "kind": kind, "quantity": quantity, "price": price}
    return InstructionEvent(**times, **order, reduce_only=reduce_only)


if __name__ == "__main__":
    main()
