"""Who may trade on the practice exchange."""

from dataclasses import dataclass

KEY, SECRET, DEPOSIT = "practice-key", "practice-secret", 10_000.0  # anybody may know them, for there is nothing to steal


@dataclass(frozen=True)
class ApiKey:
    """deposit: where its account on each venue begins, quote currency; withdraws: may also withdraw, as no trading key should."""

    key: str = KEY
    secret: str = SECRET
    deposit: float = DEPOSIT
    withdraws: bool = False
