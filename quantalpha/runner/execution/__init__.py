"""How a decided order is brought to a venue: one algorithm a file, pure state machines that read `Orders` and say what to tell it."""

from quantalpha import config
from quantalpha.runner.events import ValidatedOrderEvent
from quantalpha.runner.execution.adaptive import Adaptive
from quantalpha.runner.execution.base import Execution, Terms, View
from quantalpha.runner.execution.book import Book
from quantalpha.runner.execution.limit import Limit
from quantalpha.runner.execution.market import Market
from quantalpha.runner.execution.twap import Twap
from quantalpha.runner.orders import Orders

ALGORITHMS = {"market": Market, "limit": Limit, "twap": Twap, "adaptive": Adaptive}

__all__ = ["ALGORITHMS", "Adaptive", "Book", "Execution", "Limit", "Market", "Terms", "Twap", "View", "of"]


def of(settings: config.Execution, order: ValidatedOrderEvent, position: float, terms: Terms, orders: Orders) -> Execution:
    """The execution of `order` by the algorithm of `settings`; `position`: signed base units held when it was decided."""
    return ALGORITHMS[settings.algorithm](order, position, terms, settings, orders)
