"""Quantities come in lots."""


def round_quantity(quantity: float, lot: float) -> float:
    """`quantity` (signed, base currency) rounded toward zero to a multiple of `lot`; lot 0 leaves it alone.

    Lots are decimals: three lots of 0.1 are 0.3. A quantity within 1e-12 of the next lot counts as that lot.
    """
    from quantalpha.perp import clock

    return clock.round_to_lot(float(quantity), float(lot))
