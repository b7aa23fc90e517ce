"""What a session's orders must pass, what stops it, and how far back these look."""

from quantalpha import config
from quantalpha.runner import accounts, risk, switches
from quantalpha.runner.approval import SEND, Gate
from quantalpha.runner.composition import Composition
from quantalpha.runner.engine import Gates
from quantalpha.runner.legs import Together
from quantalpha.runner.request import REPLAY
from quantalpha.runner.switches.market import USUAL


def gates_of(composition: Composition, params: config.Params, mode: str) -> Gates:
    """What an order must pass; a replay, which must equal its backtest, has no switches and asks nobody."""
    limits = risk.of(params.risk, composition.account, mode, composition.stop_losses)
    if mode == REPLAY:
        return Gates(limits)
    routed = params.route.venue is not None and mode in accounts.VENUES and not composition.hedged
    limits = Together(limits) if routed else limits
    age = params.runner.max_model_age if composition.until else None
    kill = switches.of(params.switches, mode, age, composition.until)
    asked = None if params.runner.orders == SEND else Gate(params.runner.orders, params.risk.price_collar)
    return Gates(limits, kill, asked)


def needed_history(params: config.Params, lookback: int) -> int:
    """Closed bars that models, limits and switches look back on at a venue."""
    return max(lookback, 1 + max(params.risk.history, USUAL + params.switches.volatility_bars))
