"""Gate lines about luck: what the best of all that was tried on this market, as the ledger of tries knows it, shows without any skill."""

import math

from quantalpha.promotion.case import Case
from quantalpha.promotion.gate_report import GateLine, number
from quantalpha.validation import Evidence

YEAR = 365
RARE = 0.05  # of the splits: the best of one half loses on the other


def deflated_sharpe(case: Case) -> GateLine:
    """The Sharpe ratio is above the one that luck gives the best of the tries, with the probability asked for."""
    return deflated(case.evidence, case.gate.min_deflated_sharpe, _told(case))


def overfitting(case: Case) -> GateLine:
    """The best try on one half of the days stays among the better ones on the other."""
    return overfitted(case.evidence, case.gate.max_overfitting)


def deflated(found: Evidence, least: float, tries: str) -> GateLine:
    """tries: in words."""
    annual = math.sqrt(YEAR)
    sharpe, chance = found.sharpe * annual, found.expected_maximum * annual
    luck = f"Sharpe {sharpe:.2f} by day, {found.n_obs} of them; {tries} shows {chance:.2f} by luck"
    passed = found.dsr > least
    return GateLine("deflated_sharpe", passed, number(found.dsr), least, luck if passed else f"{luck}; {_still_needed(found)}")


def overfitted(found: Evidence, most: float) -> GateLine:
    """PBO compares tries with each other: among a few that are all good it is the toss of a coin and no fault. So it is not held against
    a candidate where the best on one half of the days earns on the other nearly always."""
    if math.isnan(found.pbo):
        return GateLine("overfitting", True, None, most, "no worse try to compare it with day by day: see deflated_sharpe")
    chance = (
        f"the best of {found.compared} tries on one half of the days is in the worse half on the other in {found.pbo:.0%} of all splits"
    )
    loss = f"and loses money there in {found.probability_of_loss:.0%}; below {most:.0%}, or a loss in at most {RARE:.0%}, is asked for"
    return GateLine("overfitting", found.pbo < most or found.probability_of_loss <= RARE, number(found.pbo), most, f"{chance} {loss}")


def _told(case: Case) -> str:
    unseen, others = case.family.unseen, case.terms.markets - 1
    also = [f"{unseen} known by number only"] if unseen else []
    also += [f"{others} for the other markets of its run"] if others else []
    return f"the best of {case.family.returns.shape[1] + unseen + others} tries" + (f" ({', '.join(also)})" if also else "")


def _still_needed(found: Evidence) -> str:
    if not math.isfinite(found.still_needed):
        return "no record of such returns, however long, would tell it from luck; it needs a better Sharpe ratio, not more time"
    return f"if it goes on like this, {found.still_needed:.0f} more days ({found.still_needed / YEAR:.1f} years) would tell it from luck"
