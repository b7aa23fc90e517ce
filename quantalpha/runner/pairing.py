"""What `quantalpha run --pair` puts to work in the place of bundles: one coin long at one venue and short at the other, for the funding
between them. No model and no gate: it is rehearsed, and tried on the venues' demo trading."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from quantalpha import config, perp
from quantalpha.errors import GateRefused, UsageError
from quantalpha.runner.composition import Composition
from quantalpha.runner.engine import Strategy
from quantalpha.runner.events import MarketCloseEvent
from quantalpha.runner.execution.two_leg import Limits
from quantalpha.runner.legs import place_of
from quantalpha.schema import from_epoch_ms
from quantalpha.strategy import funding_arbitrage

NAME = "pair"
DAY = 86_400_000  # ms
WINDOWS = 4  # of settlements that are asked for: the rule has to see when it went in
SEALED = ("pair", "account", "costs")  # sections that a resumed session must find as they were
Settled = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class Pairing(Composition):
    """Of `params`' sections pair, account and costs; `bundles` is empty. capital: quote currency, half of it at each venue."""

    bundles: tuple = ()
    params: config.Params | None = None

    def __post_init__(self):
        pair, account = self.params.pair, self.params.account
        if self.params.route.venue is None:
            raise UsageError("pair: route.venue names no second venue; add --set route.venue=bybit")
        if not 2 * pair.weight <= account.leverage:
            raise UsageError(f"pair: weight {pair.weight:g} of each leg is beyond half of account.leverage {account.leverage:g}")

    def __str__(self) -> str:
        return f"{NAME} {self.params.pair.symbol}"

    @property
    def name(self) -> str:
        return NAME

    @property
    def card(self) -> dict:
        return {"bundles": [], NAME: self.params.sections(SEALED)}

    def same_as(self, card: dict) -> bool:
        return card.get(NAME) == self.params.sections(SEALED)

    @property
    def hedged(self) -> bool:
        return True

    @property
    def stop_losses(self) -> dict[str, float | None]:
        """None that risk per trade could judge: what one leg loses at its stop the other has gained."""
        return {}

    def distance(self, symbol: str, per_trade: float) -> float:
        return self.params.pair.stop_loss

    @property
    def symbols(self) -> tuple[str, ...]:
        return (self.params.pair.symbol,)

    @property
    def timeframe(self) -> str:
        return self.params.data.timeframe

    @property
    def stops(self) -> perp.Stops:
        return perp.Stops(stop_loss=self.params.pair.stop_loss)

    @property
    def lookback(self) -> int:
        return 1

    @property
    def reach(self) -> int:
        return int(WINDOWS * self.params.pair.window * DAY)

    @cached_property
    def account(self) -> perp.Account:
        settings = self.params.account.model_dump()
        settings |= {} if self.capital is None else {"initial_cash": self.capital}
        return perp.Account(**settings, brackets=perp.brackets_for(self.params.pair.symbol))

    def costs(self) -> dict[str, perp.Costs]:
        return {self.params.pair.symbol: perp.Costs(**self.params.costs.model_dump())}

    @property
    def limits(self) -> Limits:
        """Of what may stand without its other leg."""
        pair = self.params.pair
        return Limits(pair.unhedged, pair.patience, pair.edge, pair.urgency, pair.together)

    def paper(self):
        raise UsageError("pair: its legs stand at two venues; --mode rehearse or testnet")

    def require_played(self, mode: str) -> None:
        if mode == "live":
            raise GateRefused("pair: no gate has judged it, so no real money is traded; --mode rehearse or testnet")

    def strategies(self) -> list[Strategy]:
        return [Strategy(NAME, self.params.pair.symbol, Carry(self.params.pair, self.settled))]


class Carry:
    """`strategy.funding_arbitrage` on what both venues have settled, either way round; see `protocols.Decider`. The target is the first
    leg's. settled: by leg the rates by their time (ms), filled by the venues."""

    fingerprint, novelty = "", 0.0

    def __init__(self, rule: config.Pair, settled: Settled):
        self.rule, self.settled, self.now = rule, settled, 0

    def observe(self, bar: MarketCloseEvent) -> None:
        self.now = bar.event_time

    def decide(self, previous: float) -> tuple[float, float]:
        """(what the second leg's longs have paid a year beyond the first's, target). Where the venues have told too little, or nothing
        for a day: NaN, and what was wanted before."""
        legs = self._legs()
        if legs is None:
            return float("nan"), previous
        first, second = legs
        rule = self.rule.model_dump(include={"window", "holding", "round_trip", "leave", "weight"})
        there, back = (funding_arbitrage({name: legs[name] for name in names}, **rule) for names in ((first, second), (second, first)))
        paid = [leg["funding_rate"][leg.index > leg.index[-1] - pd.Timedelta(days=self.rule.window)].sum() for leg in legs.values()]
        return float(paid[1] - paid[0]) * 365 / self.rule.window, float(there[first].iloc[-1] - back[second].iloc[-1])

    def _legs(self) -> dict[str, pd.DataFrame] | None:
        """The first venue's comes first."""
        told = {leg: self.settled[leg] for leg in sorted(self.settled, key=place_of) if self.settled[leg]}
        if len(told) < 2 or any(not self.now - max(rates) <= DAY for rates in told.values()):
            return None
        times = sorted(set().union(*told.values()))
        if not times[-1] - times[0] >= self.rule.window * DAY:
            return None
        index = from_epoch_ms(times)
        return {
            leg: pd.DataFrame({"close": 1.0, "funding_rate": [rates.get(time, 0.0) for time in times]}, index)
            for leg, rates in told.items()
        }
