"""What a decision led to, when it was known, and how much each such answer weighs."""

from quantalpha.labels.events import cusum_events
from quantalpha.labels.fixed_horizon import fixed_horizon
from quantalpha.labels.kinds import label
from quantalpha.labels.meta import meta_labels, rule_sides, side_at
from quantalpha.labels.sequential import sequential_bootstrap
from quantalpha.labels.table import known_at
from quantalpha.labels.trend_scanning import trend_scanning
from quantalpha.labels.triple_barrier import barrier_volatility, triple_barrier
from quantalpha.labels.weights import average_uniqueness, concurrency, return_attribution, time_decay

__all__ = [
    "average_uniqueness",
    "barrier_volatility",
    "concurrency",
    "cusum_events",
    "fixed_horizon",
    "known_at",
    "label",
    "meta_labels",
    "return_attribution",
    "rule_sides",
    "sequential_bootstrap",
    "side_at",
    "time_decay",
    "trend_scanning",
    "triple_barrier",
]
