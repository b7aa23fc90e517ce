"""What a session came to, in one record."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Summary:
    """What a session came to. `reason`: why it ended; money in quote currency; a position left open is said, not closed."""

    session: str
    folder: str
    bundle: str
    mode: str
    symbol: str
    timeframe: str
    reason: str
    decisions: int
    orders: int
    rejected: int
    fills: int
    equity: float
    cash: float
    positions: dict[str, float]
    in_sample: int  # decisions on bars the model may have learnt from
    overridden: list[str]  # lines of the gate that a bundle failed and a person overrode
    seconds: float

    def to_dict(self) -> dict:
        return asdict(self)
