"""How much is traded on the market, counted trade by trade: what an execution that goes with the volume is paced by."""

from quantalpha import config
from quantalpha.market.ticks import Feed, Subscription, Trade


class Volume:
    """`counted`: base units of each symbol since its count began; what was missed while a line was down is not in it."""

    def __init__(self, params: config.Params, symbols: tuple[str, ...]):
        self.params, self.symbols = params, symbols
        self.counted: dict[str, float] = {}

    def __getitem__(self, symbol: str) -> float:
        """NaN before the counting has begun."""
        return self.counted.get(symbol, float("nan"))

    async def run(self) -> None:
        """Without end. ExchangeError when a line stays broken."""
        async with Feed(self.params.venue, Subscription(self.symbols, ("trades",)), self.params.stream) as feed:
            self.counted |= dict.fromkeys(self.symbols, 0.0)
            async for _, message in feed.messages():
                if type(message) is Trade:
                    self.counted[message.symbol] += message.qty
