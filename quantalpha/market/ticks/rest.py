"""What a venue's REST mends a stream with: a snapshot of a book, missed trades, missed bars."""

from quantalpha import schema, timeframe
from quantalpha.market.exchange import Client
from quantalpha.market.ticks.messages import FETCHED, Bar, Depth, Trade

SNAPSHOT_LEVELS = 1000
TRADES_PER_PAGE = 1000
MOST_PAGES = 20  # of trades; a longer hole is told as lost


class Rest(Client):
    """A `Client` that gives the streams' messages. Raises ExchangeError where the venue gives no usable answer."""

    async def snapshot(self, symbol: str) -> Depth:
        """The book as it stands; `last` says as of which update."""
        name = self.unified(symbol)
        found = await self.ask(f"{symbol} book", lambda: self.exchange.fetch_order_book(name, SNAPSHOT_LEVELS))
        time, last = found["timestamp"], found["nonce"]
        return Depth(symbol, time, time, last, last, last, found["bids"], found["asks"], FETCHED)

    async def trades_after(self, symbol: str, last: int, until: int | None) -> list[Trade]:
        """Trades that follow number `last`, up to number `until` (None: to the newest)."""
        found: list[Trade] = []
        for _ in range(MOST_PAGES):
            page = await self._trades(symbol, {"fromId": last + 1})
            found += page
            if len(page) < TRADES_PER_PAGE or (until is not None and page[-1].id >= until):
                break
            last = page[-1].id
        return found

    async def recent_trades(self, symbol: str) -> list[Trade]:
        """The newest 1000, where a venue's trades have no numbers to ask by."""
        return await self._trades(symbol, {})

    async def _trades(self, symbol: str, extra: dict) -> list[Trade]:
        name = self.unified(symbol)
        found = await self.ask(f"{symbol} trades", lambda: self.exchange.fetch_trades(name, limit=TRADES_PER_PAGE, params=extra))
        return [self._trade(symbol, trade) for trade in found]

    def _trade(self, symbol: str, t: dict) -> Trade:
        number = t["id"] if not self.counts_trades else int(t["id"])
        return Trade(symbol, t["timestamp"], t["timestamp"], number, t["price"], t["amount"], 1 if t["side"] == "buy" else -1)

    @property
    def counts_trades(self) -> bool:
        return self.venue.name.startswith("binance")

    async def bars_after(self, symbol: str, bar: str, last: int, until: int) -> list[Bar]:
        """Closed bars that open after `last` and before `until`, ms."""
        step = timeframe.milliseconds(bar)
        rows = await self.bars(symbol, bar, last + step, until)
        values = zip(schema.epoch_ms(rows.index).tolist(), rows[list(schema.REQUIRED)].to_numpy().tolist())
        return [Bar(symbol, time, time + step, bar, *row, True) for time, row in values]
