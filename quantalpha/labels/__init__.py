"""What a decision led to, and how much each such answer weighs."""

from quantalpha.labels.triple_barrier import barrier_volatility, label, triple_barrier
from quantalpha.labels.weights import average_uniqueness

__all__ = ["average_uniqueness", "barrier_volatility", "label", "triple_barrier"]
