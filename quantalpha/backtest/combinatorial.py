"""Many histories out of one: combinatorial purged folds, their forecasts put together to complete out-of-sample paths.

Source: López de Prado, "Advances in Financial Machine Learning" (2018), chapter 12.
"""

import pandas as pd

from quantalpha.backtest.rows import Fit, Rows
from quantalpha.backtest.walk_forward import WalkForward, forecast_block
from quantalpha.validation import combinatorial_paths, combinatorial_purged, group_blocks


def combinatorial_forecasts(rows: Rows, fit: Fit, *, groups: int, test_groups: int, embargo: int = 0) -> list[WalkForward]:
    """Forecasts of every row on each path of `combinatorial_paths`, as many as a group has folds; a model is fitted once a fold.

        paths = combinatorial_forecasts(Rows(features, labels), fit, groups=6, test_groups=2, embargo=24)
        sharpes = [backtest_forecasts(bars, path, policy, account=account, costs=costs).metrics()["sharpe_ratio"] for path in paths]

    The training rows weigh what they weigh in a walk-forward. Column `fold` of a path names the fold each forecast is from, and its `folds`
    tell of one group each. The models have seen what came after their test: the spread of the paths tells how much of a result is luck
    of one history, no path what would have been earned.
    """
    made: list[dict[int, tuple]] = []  # of each fold, the block and scores of every group in its test
    blocks = group_blocks(len(rows.index), groups)
    for number, fold in enumerate(combinatorial_purged(rows.end_time, groups=groups, test_groups=test_groups, embargo=embargo)):
        model, train = rows.fit(fold.train, fit, f"combinatorial: fold {number}")
        tested = {group: block for group, block in enumerate(blocks) if block[0] in fold.test}
        made.append({group: forecast_block(rows, model, train, block, number) for group, block in tested.items()})
    return [_path([made[fold][group] for group, fold in enumerate(path)]) for path in combinatorial_paths(groups, test_groups)]


def _path(parts: list[tuple[pd.DataFrame, dict]]) -> WalkForward:
    blocks, scores = zip(*parts)
    return WalkForward(pd.concat(blocks), list(scores))
