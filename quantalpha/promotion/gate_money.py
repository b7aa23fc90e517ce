"""Gate lines about what a candidate earns: after costs, after twice the costs, on other histories, and in every part of it."""

import numpy as np

from quantalpha.backtest.critic import critique
from quantalpha.models import PROBABILITIES
from quantalpha.promotion.case import Case
from quantalpha.promotion.gate_report import GateLine, number
from quantalpha.validation import brier_score, calibration_error

HEADLINE = ("sharpe_ratio", "max_drawdown", "profit_factor")
NUDGES = 0.8, 1.25  # a parameter a fifth lower, a quarter higher: the edge of what anybody would call the same setting


def real_costs(case: Case) -> GateLine:
    """The candidate was judged, and will trade, at costs that exist."""
    cost, least = case.result.costs.taker + case.result.costs.slippage, case.gate.min_cost
    reason = f"taker fee and slippage {cost * 1e4:.1f} bp a side, at least {least * 1e4:.1f} bp are asked for"
    return GateLine("real_costs", cost >= least, cost, least, reason)


def net_result(case: Case) -> GateLine:
    """Money made after all costs, at a better Sharpe ratio than every baseline."""
    rivals = case.scored[1]["sharpe_ratio"].to_dict()
    sharpe, total = case.metrics["sharpe_ratio"], case.metrics["total_return"]
    better = [f"{name} {value:.2f}" for name, value in rivals.items() if not sharpe > value]
    reasons = [] if total > 0 else [f"net return {total:+.2%} is not above 0"]
    reasons += [f"Sharpe {sharpe:.2f} does not beat {', '.join(better)}"] if better else []
    reason = "; ".join(reasons) or f"net return {total:+.2%}, Sharpe {sharpe:.2f} beats {', '.join(rivals)}"
    return GateLine("net_result", not reasons, number(sharpe), number(float(np.max(list(rivals.values())))), reason)


def trades(case: Case) -> GateLine:
    """Enough trades to say anything."""
    count, least = case.metrics["n_trades"], case.gate.min_trades
    return GateLine("trades", count >= least, number(count), float(least), f"{count:.0f} round trips, at least {least} needed")


def walk_forward_net(case: Case) -> GateLine:
    """The walk-forward after costs."""
    return _limits("walk_forward_net", case, case.metrics, "")


def walk_forward_stressed(case: Case) -> GateLine:
    """The walk-forward at `gate.stress` times the costs."""
    stress = case.gate.stress
    return _limits(
        "walk_forward_stressed", case, case.backtest(case.candidate.trained.walk, stress).metrics(), f"at {stress:g} times the costs: "
    )


def combinatorial_net(case: Case) -> GateLine:
    """The median history of combinatorial purged folds, after costs."""
    return _combinatorial("combinatorial_net", case, 1.0)


def combinatorial_stressed(case: Case) -> GateLine:
    """The same at `gate.stress` times the costs."""
    return _combinatorial("combinatorial_stressed", case, case.gate.stress)


def stable_over_folds(case: Case) -> GateLine:
    """Enough of the walk-forward's test windows earned something; which one earned most is the critic's question."""
    growth = np.log1p(case.result.returns).groupby(case.candidate.trained.walk.forecasts["fold"]).sum()
    share, least, worst = float((growth > 0).mean()), case.gate.min_winning_folds, growth.idxmin()
    told = f"{(growth > 0).sum()} of {len(growth)} test windows earned, at least {least:.0%} asked for; "
    return GateLine("stable_over_folds", share >= least, share, least, f"{told}the worst, fold {worst:.0f}, {np.expm1(growth[worst]):+.1%}")


def stable_over_parameters(case: Case) -> GateLine:
    """Settings next door earn a good part of what these do: a peak that stands alone was found, not earned."""
    policy = case.sections["policy"]
    moved = [{name: policy[name] * nudge} for name in ("enter", "exit") for nudge in NUDGES if policy[name] > 0]
    near = [change for change in moved if (policy | change)["exit"] < (policy | change)["enter"] <= 1.0]
    found = {
        f"{name} {value:.3g}": case.backtest(case.candidate.trained.walk, **change).metrics()["sharpe_ratio"]
        for change in near
        for name, value in change.items()
    }
    worst = min(found, key=lambda name: found[name] if np.isfinite(found[name]) else -np.inf)
    least = max(case.gate.min_neighbour * case.metrics["sharpe_ratio"], 0.0)
    reason = f"Sharpe {found[worst]:.2f} with policy.{worst}, the worst of {len(found)} settings next door; at least {least:.2f} asked for"
    return GateLine("stable_over_parameters", found[worst] >= least, number(found[worst]), number(least), reason)


def calibrated(case: Case) -> GateLine:
    """What was forecast with a probability came about about so often."""
    forecasts = case.candidate.trained.walk.forecasts[list(PROBABILITIES)]
    happened = case.training["labels"]["label"].reindex(forecasts.index).to_numpy(float)
    error, most = calibration_error(happened, forecasts.to_numpy()), case.gate.max_calibration_error
    brier = brier_score(happened, forecasts.to_numpy())
    reason = f"forecast probabilities miss the frequencies by {error:.3f} on average, at most {most:g} asked for; Brier score {brier:.3f}"
    return GateLine("calibrated", error <= most, number(error), most, reason)


def critic(case: Case) -> GateLine:
    """No severe finding of the critic; its warnings are told."""
    found = critique(case.result)
    severe = [finding for finding in found if finding.severity == "severe"]
    warnings = ", ".join(finding.code for finding in found if finding.severity != "severe")
    told = "; ".join(finding.message for finding in severe) or "nothing severe"
    return GateLine("critic", not severe, float(len(severe)), 0.0, told + (f"; warnings: {warnings}" if warnings else ""))


def _combinatorial(name: str, case: Case, stress: float) -> GateLine:
    found = [case.backtest(path, stress).metrics() for path in case.paths]
    median = {key: float(np.median([metrics[key] for metrics in found])) for key in HEADLINE}
    sharpes = [metrics["sharpe_ratio"] for metrics in found]
    costs = "" if stress == 1.0 else f" at {stress:g} times the costs"
    return _limits(name, case, median, f"median of {len(found)} histories{costs}, Sharpe {min(sharpes):.2f} to {max(sharpes):.2f}: ")


def _limits(name: str, case: Case, metrics: dict[str, float], where: str) -> GateLine:
    """Sharpe ratio, drawdown and profit factor within what `gate` asks for; NaN is not."""
    gate, (sharpe, drawdown, factor) = case.gate, (metrics[key] for key in HEADLINE)
    held = {
        f"Sharpe above {gate.min_sharpe:g}": sharpe > gate.min_sharpe,
        f"drawdown below {gate.max_drawdown:.0%}": drawdown < gate.max_drawdown,
        f"profit factor above {gate.min_profit_factor:g}": factor > gate.min_profit_factor,
    }
    missed = ", ".join(asked for asked, kept in held.items() if not kept)
    told = f"{where}Sharpe {sharpe:.2f}, drawdown {drawdown:.1%}, profit factor {factor:.2f}"
    return GateLine(name, not missed, number(sharpe), gate.min_sharpe, told + (f"; asked for: {missed}" if missed else ""))
