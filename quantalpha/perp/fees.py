"""What venues charge for trading linear perpetuals, by tier. Fractions of notional: 0.0005 is 5 basis points."""

from quantalpha.errors import UsageError, did_you_mean

# (maker, taker) as found in October 2026. binance: USD-M contracts without the BNB discount (binance.com/en/fee/futureFee), every row found
# in a second publication too. bybit: USDT and USDC perpetuals (help centre, "Trading Fee Structure"). Left out for want of a good source:
# Bybit's Pro tiers, and what either venue charged in earlier years.
FEES = {
    "binance": {
        "VIP 0": (0.0002, 0.0005),
        "VIP 1": (0.00016, 0.0004),
        "VIP 2": (0.00014, 0.00035),
        "VIP 3": (0.00012, 0.00032),
        "VIP 4": (0.0001, 0.0003),
        "VIP 5": (0.00008, 0.00027),
        "VIP 6": (0.00006, 0.00025),
        "VIP 7": (0.00004, 0.00022),
        "VIP 8": (0.00002, 0.0002),
        "VIP 9": (0.0, 0.00017),
    },
    "bybit": {
        "VIP 0": (0.0002, 0.00055),
        "VIP 1": (0.00018, 0.0004),
        "VIP 2": (0.00016, 0.000375),
        "VIP 3": (0.00014, 0.00035),
        "VIP 4": (0.00012, 0.00032),
        "VIP 5": (0.0001, 0.00032),
        "Supreme VIP": (0.0, 0.0003),
    },
}


def fees_for(venue: str, tier: str = "VIP 0") -> tuple[float, float]:
    """(maker, taker) of a linear perpetual, as `Costs` takes them. `venue` and `tier` as in FEES.

    These are the public rates; an account's own (region, discounts, promotions) stand in the venue's API.
    """
    if venue not in FEES:
        raise UsageError(f"fees: venue {venue!r} is not known; {did_you_mean(venue, FEES)}")
    if tier not in FEES[venue]:
        raise UsageError(f"fees: {venue} has no tier {tier!r} here; {did_you_mean(tier, FEES[venue])}")
    return FEES[venue][tier]
