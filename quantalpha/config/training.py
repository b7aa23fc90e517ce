"""The sections of what is trained: the models, and the search for their hyper-parameters."""

from typing import Annotated, Literal

from pydantic import Field

from quantalpha.config.values import Count, Positive, Range, Section, Seed


class Boosting(Section):
    trees: Count
    learning_rate: Positive
    leaves: Annotated[int, Field(ge=2)]
    min_rows_per_leaf: Count
    row_fraction: Annotated[float, Field(gt=0, le=1)]
    column_fraction: Annotated[float, Field(gt=0, le=1)]
    l2: Annotated[float, Field(ge=0)]


Hyperparameter = Literal[tuple(Boosting.model_fields)]
KINDS = ("lightgbm", "xgboost")


class Models(Section):
    names: Annotated[list[Literal["lightgbm", "xgboost"]], Field(min_length=1)]
    seed: Seed
    lightgbm: Boosting
    xgboost: Boosting


class Search(Section):
    trials: Annotated[int, Field(ge=0)]
    batch: Count
    folds: Count
    prune: bool
    seed: Seed
    max_drawdown: Annotated[float, Field(gt=0, le=1)]
    max_turnover: Positive
    lightgbm: Annotated[dict[Hyperparameter, Range], Field(min_length=1)]
    xgboost: Annotated[dict[Hyperparameter, Range], Field(min_length=1)]


def check_ends(where: str, bounds: tuple, model: Boosting, name: str) -> None:
    """That both ends of a range are values the hyper-parameter may have."""
    whole = Boosting.model_fields[name].annotation is int
    if whole != (bounds[2] == "int"):
        raise ValueError(f"{where}: kind must be {'int' if whole else 'float or log'}, found {bounds[2]!r}")
    for end in bounds[:2]:
        try:
            Boosting.model_validate(model.model_dump() | {name: end})
        except ValueError as error:
            raise ValueError(f"{where}: expected {error.errors()[0]['msg'].removeprefix('Input should be ')}, found {end!r}") from None
