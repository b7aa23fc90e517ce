"""How fast the runner is: from the frame that closes a bar, as it is read, to the order's bytes on the socket.

python benchmarks/runner.py [orders] [cpu]

Against a practice exchange in another process; 300 trees on the whole catalogue. Stage by stage, by the wall's clock or by this process's
CPU.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from features import CATALOGUE

from quantalpha import config, features
from quantalpha.bundle import not_live
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.models.boosting import LightGBM
from quantalpha.runner import Request, latency, run_session
from quantalpha.runner.events import InstructionEvent
from quantalpha.runner.journal import Journal
from quantalpha.runner.latency import Histogram, Stopwatch
from quantalpha.runner.outbox import Outbox

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import small_bundle  # noqa: E402

MINUTE, HOUR = 60_000, 3_600_000  # ms
BARS, BEFORE = 12_000, 4_000  # of the tape; those before the session
PAUSE = 0.06  # seconds between bars
CAUGHT_UP = 30  # bars; the first ones closed while the session was started, and REST tells them all at once
GOAL = 0.005  # seconds, P99
STAGES = ("decode", "features", "model", "engine, ledger, risk, execution", "journal commit", "sign and write", "whole")
TAPE = ["synthetic.timeframe=1m", f"synthetic.bars={BARS}", "synthetic.edge={BTCUSDT: 0.02}", "venue.source=practice"]
EAGER = ["models.lightgbm.trees=300", "policy.enter=0.0", "policy.exit=0.0"]
UNBOUND = [
    "runner.feed=socket", "runner.watchdog=false", "runner.max_model_age=null",
    # limits count minutes of the wall, in which this tape holds hundreds of bars
    "risk.orders_per_minute=1000000", "risk.max_var=null", "risk.max_cvar=null", "risk.max_liquidation_probability=0.99",
    "switches.volatility=1000000", "switches.daily_loss=0.99", "switches.drawdown=0.99", "switches.consecutive_losses=1000000",
    "switches.out_of_distribution=0.999", "switches.clock_skew=1000000", "switches.silence=1000", "switches.unprotected=1000",
]  # fmt: skip


def live_catalogue() -> dict:
    """All of it that a live bar is enough for, with windows of a day at most."""
    kept = {}
    for family, listed in CATALOGUE.items():
        spec = {family: [list(each) if isinstance(each, tuple) else each for each in listed]}
        if not not_live(features.build(spec, "1m")):
            kept |= spec
    return kept


def settings(*overrides: str) -> config.Params:
    params = small_bundle.params(*TAPE, *EAGER, *UNBOUND, *overrides)
    return params.model_copy(update={"features": live_catalogue()})


@contextlib.contextmanager
def exchange(now: int) -> Iterator[str]:
    """A practice exchange in another process; its URL."""
    given = [*TAPE, f"exchange.speed={MINUTE / 1000 / PAUSE}", "exchange.port=0", "exchange.weight_limit=100000000", "exchange.wait=true"]
    command = [sys.executable, str(ROOT / "benchmarks" / "runner.py"), "exchange", str(now), *given]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        yield next(line.split()[1] for line in process.stdout if line.startswith("REST"))
    finally:
        process.terminate()
        process.wait()


def play(now: int, overrides: list[str]) -> None:
    """The other process. Binance's 1,200 orders a minute are a few hours' of this tape."""
    from quantalpha import practice
    from quantalpha.practice import order_counts

    order_counts.WINDOWS = {"10S": (10, 10**6, "TEN_SECONDS"), "1M": (60, 10**6, "MINUTE")}
    params = config.load("demo", overrides)
    moment = np.datetime64(now, "ms").item().replace(tzinfo=params.synthetic.start.tzinfo)
    practice.run(params.model_copy(update={"exchange": params.exchange.model_copy(update={"now": moment})}))


class Stages:
    """Where the time goes, told by wrappers around the parts of the path. clock: ns, of the wall or of this process's CPU: to read that one
    costs as much as a short stage, so that they are not measured together."""

    def __init__(self, clock: Callable[[], int]):
        self.clock = clock
        self.took: dict[str, Histogram] = defaultdict(Histogram)
        self.marks: dict[str, int] = {}  # of the bar under way
        self.spent: dict[str, int] = {}
        self.bars = 0

    def around(self, owner: type, name: str, stage: str) -> None:
        call = getattr(owner, name)

        def timed(*given, **named):
            begun = self.clock()
            try:
                return call(*given, **named)
            finally:
                self.spent[stage] = self.clock() - begun

        setattr(owner, name, timed)

    def before(self, owner: type, name: str, note: Callable) -> None:
        call = getattr(owner, name)

        def noted(*given, **named):
            note(*given)
            return call(*given, **named)

        setattr(owner, name, noted)

    def install(self) -> None:
        self.around(features.FeatureSet, "last", "features")
        self.around(LightGBM, "predict", "model")
        self.around(Journal, "commit", "journal commit")
        self.before(Stopwatch, "closed", self.closed)
        self.before(Outbox, "send", self.sent)
        self.before(Stopwatch, "written", self.written)

    def closed(self, watch: Stopwatch, bar: int, received: int) -> None:
        self.bars += 1
        if self.bars == CAUGHT_UP:
            watch.histogram = Histogram()
        self.spent.clear()
        self.marks = {"decoded": self.clock()}
        if self.clock is time.time_ns:
            self.spent["decode"] = self.marks["decoded"] - received

    def sent(self, outbox: Outbox, instruction: InstructionEvent) -> None:
        if instruction.purpose == "order":
            self.marks.setdefault("sent", self.clock())

    def written(self, watch: Stopwatch, instruction: InstructionEvent) -> None:
        marks = self.marks
        if (
            self.bars <= CAUGHT_UP
            or instruction.purpose != "order"
            or "sent" not in marks
            or "written" in marks
            or "model" not in self.spent
        ):
            return
        marks["written"] = self.clock()
        inside = [each for stage, each in self.spent.items() if stage != "decode"]
        took = self.spent | {"sign and write": marks["written"] - marks["sent"], "whole": marks["written"] - marks["decoded"]}
        took["engine, ledger, risk, execution"] = max(marks["sent"] - marks["decoded"] - sum(inside), 0)
        took["whole"] += self.spent.get("decode", 0)
        for stage in STAGES:
            if stage in took:
                self.took[stage].record(took[stage] / 1e9)


def table(histograms: dict[str, Histogram], what: str) -> None:
    print(f"\n{what + ', ms':42}{'p50':>8}{'p90':>8}{'p99':>8}{'p99.9':>8}{'max':>8}")
    for stage, found in histograms.items():
        print(f"{stage:42}" + "".join(f"{found.quantile(share) * 1e3:8.3f}" for share in (0.5, 0.9, 0.99, 0.999, 1.0)))


def measure(orders: int, by_cpu: bool) -> None:
    params = settings()
    tape = synthetic_bars("BTCUSDT", params.synthetic)
    start = tape.index[BEFORE]
    stages = Stages(time.process_time_ns if by_cpu else time.time_ns)
    with tempfile.TemporaryDirectory() as folder, exchange(int(start.timestamp() * 1000)) as url:
        os.environ["QUANTALPHA_CACHE"] = folder
        bundle = small_bundle.build(Path(folder) / "bundles", tape.iloc[:BEFORE], params, timeframe="1m")
        venue = params.venue.model_copy(update={"name": "binanceusdm", "rest_url": url, "ws_url": url.replace("http", "ws")})
        runner = params.runner.model_copy(update={"bars": orders * 4})
        print(f"{len(bundle.features.names)} columns, lookback {bundle.features.lookback}; load {os.getloadavg()[0]:.1f}")
        stages.install()
        request = Request("rehearse", "speed", sessions=Path(folder) / "data" / "sessions")  # its account lies beside them
        summary = run_session(bundle, params.model_copy(update={"venue": venue, "runner": runner}), request)
        found = latency.read(Path(summary.folder))
    table(stages.took, "CPU of the process" if by_cpu else "wall")
    print(f"\nlatency.json: {found}; load {os.getloadavg()[0]:.1f}")
    print(f"P99 {found.quantile(0.99) * 1e3:.2f} ms, the goal is {GOAL * 1e3:g}; {summary.orders} orders, {summary.rejected} refused")


def main() -> None:
    if sys.argv[1:2] == ["exchange"]:
        play(int(sys.argv[2]), sys.argv[3:])
        return
    numbers = [int(each) for each in sys.argv[1:] if each.isdigit()]
    measure(*(numbers or [1000]), "cpu" in sys.argv[1:])


if __name__ == "__main__":
    main()
