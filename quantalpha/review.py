"""A session looked back on: does it agree with its backtest, and where did the money between them go?"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from quantalpha import config, runner, schema, timeframe
from quantalpha.bundle import Bundle
from quantalpha.errors import UsageError
from quantalpha.files import read_json, read_parquet
from quantalpha.market import bars_between
from quantalpha.market.download import run_in_thread
from quantalpha.promotion import Attribution, Recorded, Report, Reviewed, attribute, order_table, reconcile, research_result
from quantalpha.runner.folders import CARD
from quantalpha.runner.review import reviewed

if TYPE_CHECKING:
    from quantalpha.backtest import Result

VENUE = "venue"
VENUES = ("rehearse", "testnet", "live")  # modes whose account is at a venue
CORRELATED = 0.8  # of the equity curves: what a session should reach


@dataclass(frozen=True)
class Review:
    """`bundle`: with the session's capital; `told` and `orders`: how its orders came about, see `runner.review` and `executions`."""

    session: str
    bundle: Bundle
    recorded: Recorded
    told: Reviewed
    report: Report
    attribution: Attribution
    orders: pd.DataFrame

    @property
    def backtest(self) -> "Result":
        """Of the bars as recorded."""
        return research_result(self.bundle, self.recorded)

    @property
    def activity(self) -> str:
        """One line: what was ordered, and what became of it."""
        orders, forced = self.told.orders, self.told.forced
        refused = orders["refused"][orders["refused"] != ""]
        words = [f"{len(orders)} orders, {(orders['filled'] != 0.0).sum()} of them filled" if len(orders) else "no order was made"]
        words += [f"{len(refused)} refused by risk ({', '.join(sorted(set(refused)))})"] if len(refused) else []
        words += [f"{len(forced)} fills that no decision asked for ({', '.join(sorted(set(forced['reason'])))})"] if len(forced) else []
        tripped = self.told.switches["name"][self.told.switches["phase"] == "tripped"]
        return "; ".join([*words, f"kill switches: {', '.join(tripped) or 'none'}"])

    def to_dict(self) -> dict:
        return {"session": self.session} | self.report.to_dict() | {"attribution": self.attribution.to_dict()}

    @property
    def verdict(self) -> str:
        """One line: the gap, its largest cause, and how far the two equity curves go together."""
        found, correlation = self.attribution, self.attribution.correlation
        left = "" if round(found.left - found.session, 2) == 0.0 else f" ({found.left:,.2f} when it ended, at the mark of then)"
        gap = f"session {found.session:,.2f}{left}, backtest {found.backtest:,.2f}: {found.gap:+,.2f}"
        cause = "no cause moved any money" if found.largest is None else f"mostly {found.largest}, {found.unexplained:.2%} unexplained"
        curves = "of a constant curve there is none" if correlation is None else f"{correlation:.4f}"
        met = "" if correlation is None else " (met)" if correlation > CORRELATED else " (MISSED)"
        seen = "" if found.asked else "; revised and missed bars not looked for (--bars-now)"
        return f"{gap}, {cause}; equity correlation {curves}, target above {CORRELATED}{met}{seen}"


def review(folder: Path, bars_now: pd.DataFrame | None = None) -> Review:
    """Of the session in `folder`. bars_now: its bars as they are told today, `bars_today`. UsageError: it traded several bundles."""
    card = read_json(folder / CARD, "mode", "capital")
    bundle = runner.session_bundle(folder)
    bundle = replace(bundle, account=replace(bundle.account, initial_cash=card["capital"]))
    recorded, told = Recorded(**runner.recorded(folder)), Reviewed(**reviewed(folder))
    report = reconcile(bundle, recorded, bars_now)
    split = attribute(bundle, recorded, told, bars_now=bars_now, venue=card["mode"] in VENUES)
    return Review(folder.name, bundle, recorded, told, report, split, order_table(bundle, recorded, told))


def bars_today(folder: Path, source: str) -> pd.DataFrame | None:
    """A session's bars as they are told now, those that it missed among them. source: "venue" downloads them again; a parquet of clean
    bars; "" asks nobody. ExchangeError: the venue is not to be reached."""
    if source == "":
        return None
    if source != VENUE:
        path = config.path(source)
        if not path.is_file():
            raise UsageError(f"bars now: {path}: no such file; name a parquet of clean bars, or {VENUE!r} to download them again")
        return schema.check_bars(read_parquet(path), str(path))
    card, bundle = read_json(folder / CARD, "params"), runner.session_bundle(folder)
    times = schema.epoch_ms(runner.recorded(folder)["bars"].index)
    span = int(times[0]), int(times[-1]) + timeframe.milliseconds(bundle.timeframe)
    venue = config.Venue.model_validate(card["params"]["venue"])
    return run_in_thread(bars_between(venue, bundle.symbol, bundle.timeframe, *span))
