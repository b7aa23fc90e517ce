"""Bybit's code and words for every reason of a desk to say no. Source: bybit-exchange.github.io/docs/v5/error."""

from quantalpha.practice.bybit_query import WRONG_PARAMETER, Refusal

NO_ORDER = 110001
REASONS = {
    "margin": (110007, "ab not enough for new order"),
    "leverage_bracket": (110090, "Order placement failed as your position may exceed the max limit. Please adjust your leverage."),
    "reduce_only": (110017, "current position is zero, cannot fix reduce-only order qty"),
    "would_trigger": (110092, "expect Rising or Falling, but trigger_price has been reached"),
    "duplicate": (110072, "OrderLinkedID is duplicate"),
    "unknown": (NO_ORDER, "order not exists or too late to cancel"),
    "too_many": (110020, "Not allowed to have more than 500 active orders"),
    "too_many_conditional": (110009, "The number of stop orders exceeds the maximum allowable limit"),
    "unchanged": (WRONG_PARAMETER, "The order remains unchanged as the parameters entered match the existing ones."),
    "position_open": (110024, "You have an existing position, so the margin mode cannot be switched"),
    "orders_open": (110028, "You have existing open orders, so the margin mode cannot be switched"),
    "not_traded": (110066, "Trading is currently not allowed"),
    "leverage_reduction": (110044, "Available margin is insufficient"),
}


def refusal(reason: str) -> Refusal:
    code, words = REASONS[reason]
    return Refusal(words, code)
