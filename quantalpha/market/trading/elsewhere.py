"""An account at a second venue: the same client, with symbols that carry the venue's name, so that they are not taken for the first's."""

from collections.abc import Iterable
from dataclasses import replace

from quantalpha.market.trading.client import Trading
from quantalpha.market.trading.words import AccountReport, Instruction, OrderReport, Payment, Rules, Trade


class Elsewhere:
    """What a session's line asks of `Trading`, in symbols such as BTCUSDT@bybit. at: '@bybit'."""

    def __init__(self, trading: Trading, at: str):
        self.trading, self.at = trading, at
        self.now, self.minute, self.synchronise = trading.now, trading.minute, trading.synchronise
        self.expect_order = trading.expect_order

    @property
    def errors(self) -> float:
        return self.trading.errors

    def named(self, told):
        """News or a report with this venue's name for the symbol; None stays None."""
        return None if told is None else replace(told, symbol=told.symbol + self.at)

    def native(self, symbol: str) -> str:
        return symbol.removesuffix(self.at)

    def rules_of(self, symbol: str) -> Rules:
        return self.trading.rules_of(self.native(symbol))

    async def place(self, instruction: Instruction) -> OrderReport:
        return self.named(await self.trading.place(replace(instruction, symbol=self.native(instruction.symbol))))

    async def amend(self, instruction: Instruction) -> OrderReport:
        return self.named(await self.trading.amend(replace(instruction, symbol=self.native(instruction.symbol))))

    async def cancel(self, client_id: str, symbol: str) -> OrderReport | None:
        return self.named(await self.trading.cancel(client_id, self.native(symbol)))

    async def order(self, client_id: str, symbol: str) -> OrderReport | None:
        return self.named(await self.trading.order(client_id, self.native(symbol)))

    async def open_orders(self, symbols: Iterable[str] | None = None) -> list[OrderReport]:
        asked = None if symbols is None else [self.native(symbol) for symbol in symbols]
        return [self.named(each) for each in await self.trading.open_orders(asked)]

    async def trades_since(self, symbol: str, since: int) -> list[Trade]:
        return [self.named(each) for each in await self.trading.trades_since(self.native(symbol), since)]

    async def payments_since(self, symbol: str, since: int) -> list[Payment]:
        return [self.named(each) for each in await self.trading.payments_since(self.native(symbol), since)]

    async def funding_rates(self, symbol: str, since: int) -> dict[int, tuple[float, float | None]]:
        return await self.trading.funding_rates(self.native(symbol), since)

    async def account(self) -> AccountReport:
        told = await self.trading.account()
        return replace(told, positions={symbol + self.at: held for symbol, held in told.positions.items()})
