"""Several bundles in one account: what they must agree on, and each one's share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from quantalpha import config, perp
from quantalpha.bundle import Bundle
from quantalpha.errors import GateRefused, UsageError
from quantalpha.runner import risk
from quantalpha.runner.broker_paper import PaperBroker, PaperPortfolio
from quantalpha.runner.decide import Decider
from quantalpha.runner.engine import Strategy

DAY = 86_400_000  # ms
SHARED = ("initial_cash", "leverage", "margin_mode", "rebalance_band", "limit_bars")  # of the account: there is one


@dataclass(frozen=True)
class Composition:
    """Bundles that trade one account, each with an equal share of its equity. Refuses those that were not made for one account.

    settled: what the venues of a session at two have settled lately, by leg the rates by their time (ms); they fill it.
    """

    bundles: tuple[Bundle, ...]
    capital: float | None = None  # quote currency; None: what the bundles were judged with
    settled: dict[str, dict[int, float]] = field(default_factory=dict, compare=False)

    def __post_init__(self):
        first = self.bundles[0]
        looks: dict[str, Callable[[Bundle], object]] = {"timeframe": lambda b: b.timeframe, "venue": lambda b: b.venue}
        looks |= {f"account.{name}": lambda b, name=name: getattr(b.account, name) for name in SHARED} | {"stops": lambda b: b.stops}
        for what, look in looks.items():
            other = next((each for each in self.bundles if look(each) != look(first)), None)
            if other is not None:
                found = f"{first.symbol} has {look(first)}, {other.symbol} has {look(other)}"
                raise UsageError(f"run: bundles of one account must share {what}: {found}; run them as two sessions, or train them alike")

    @property
    def reach(self) -> int:
        """How far back (ms) settlements are asked for, where there are two venues."""
        return DAY

    def __str__(self) -> str:
        return ", ".join(each.id[:12] for each in self.bundles)

    @property
    def name(self) -> str:
        return "+".join(each.id for each in self.bundles)

    @property
    def card(self) -> dict:
        """What a session's card says of it."""
        return {"bundles": [{"id": each.id, "symbol": each.symbol, "folder": str(each.folder.absolute())} for each in self.bundles]}

    def same_as(self, card: dict) -> bool:
        """Whether the session of this card ran the same."""
        return [each["id"] for each in card["bundles"]] == [each.id for each in self.bundles]

    @property
    def hedged(self) -> bool:
        """Whether one leg stands against the other: then limits judge the first alone, as if the second were not there."""
        return False

    def require_played(self, mode: str) -> None:
        """GateRefused where it may not be traded in this mode."""

    def require_origin(self, venue: config.Venue, mode: str) -> None:
        """UsageError where a bundle was made from another venue's data (what was made from own files trades wherever the user points it);
        GateRefused where live money would follow what stood in for the venue, such as a practice tape."""
        for each in self.bundles:
            if mode == "live" and not (venue.own and each.venue in (venue.name, config.IMPORT)):
                raise GateRefused(
                    f"live: bundle {each.id[:12]} was made from data of {each.venue}, which is not {venue.name}'s own; practice data is "
                    "traded on paper and in rehearsals only: run the pipeline on the venue's data, and promote that run"
                )
            if each.venue not in (venue.kept_as, config.IMPORT):
                raise UsageError(
                    f"run: the bundle was made from data of {each.venue}, but params.venue is {venue.kept_as}; "
                    "name the profile and settings it was made with, or promote a run of this venue"
                )

    @property
    def until(self) -> dict[str, int]:
        """Of each bundle the open time (ms) of the last bar it may have learnt from."""
        return {each.id: int(each.until.timestamp() * 1000) for each in self.bundles}

    @property
    def stop_losses(self) -> dict[str, float | None]:
        """By symbol, as risk per trade judges them."""
        return {each.symbol: each.stops.stop_loss for each in self.bundles}

    def distance(self, symbol: str, per_trade: float) -> float:
        """Of the stop that a position of the symbol has at a venue, fraction of its average fill price: where there is none, the one at
        which the largest position loses `per_trade` of the equity."""
        largest = sum(each.policy.leverage for each in self.bundles if each.symbol == symbol) / len(self.bundles)
        return risk.protective_distance(self.stops.stop_loss, per_trade, largest)

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.symbol for each in self.bundles))

    @property
    def timeframe(self) -> str:
        return self.bundles[0].timeframe

    @property
    def stops(self) -> perp.Stops:
        return self.bundles[0].stops

    @property
    def lookback(self) -> int:
        """Closed bars that the first decision needs."""
        return max(each.features.lookback for each in self.bundles)

    @property
    def account(self) -> perp.Account:
        """The one account: what an instrument demands stands in it by symbol."""
        first = self.bundles[0].account
        cash = first.initial_cash if self.capital is None else self.capital
        if len(self.symbols) == 1:
            return replace(first, initial_cash=cash)
        return replace(first, initial_cash=cash, instruments={each.symbol: each.account.instrument(each.symbol) for each in self.bundles})

    def costs(self) -> dict[str, perp.Costs]:
        return {each.symbol: each.costs for each in self.bundles}

    def paper(self) -> PaperBroker | PaperPortfolio:
        """The backtest's exchange for this account."""
        if len(self.symbols) == 1:
            return PaperBroker(self.symbols[0], self.account, self.bundles[0].costs, self.stops)
        return PaperPortfolio(self.symbols, self.account, self.costs(), self.stops)

    def strategies(self) -> list[Strategy]:
        """DataError where a live bar tells a bundle too little."""
        return [Strategy(each.id, each.symbol, Decider(each), 1.0 / len(self.bundles)) for each in self.bundles]


def compose(bundles: Bundle | Sequence[Bundle] | Composition, capital: float | None = None) -> Composition:
    """One bundle or several; what is composed already stays as it is."""
    if isinstance(bundles, Composition):
        return bundles
    return Composition((bundles,) if isinstance(bundles, Bundle) else tuple(bundles), capital)
