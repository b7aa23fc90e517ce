"""What a section is, and the kinds of value a parameter may have, each with the words that refuse another."""

import math
import re
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic_core import PydanticCustomError

from quantalpha import timeframe
from quantalpha.errors import UsageError


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _instant(value):
    """A date, datetime or ISO text as an aware UTC datetime."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("a date such as 2024-01-31") from None
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise ValueError("a date such as 2024-01-31")


def _timeframe(value):
    try:
        timeframe.milliseconds(value)
    except UsageError:
        raise ValueError("a number and m, h or d such as '15m'") from None
    return value


def _lag(value: str) -> str:
    if timeframe.milliseconds(value) < timeframe.UNITS["d"]:
        raise ValueError("at least 1d, for a day's values come late and are corrected")
    return value


def distinct(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("names that differ")
    return names


def _test_block(value):
    """The size of a test block, or the calendar period it is."""
    if value in timeframe.PERIODS or isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ValueError(f"a number of bars greater than 0, or {', '.join(timeframe.PERIODS[:-1])} or {timeframe.PERIODS[-1]}")


def _address(value: str) -> str:
    """scheme://host:port and nothing else: a path would be dropped, a password would be stored with every run."""
    match = re.fullmatch(r"(https?|wss?|tcp|tls)://([^/\s@]+)/?", value)
    if match is None:
        raise ValueError("an address such as http://127.0.0.1:8899, with no path, user or password")
    return value.rstrip("/")


def _catalogue(listed) -> list:
    """The features of one family; which parameters a family wants `quantalpha.features` knows."""
    given = [item if isinstance(item, list) else [item] for item in listed] if isinstance(listed, list) else [[None]]
    if not all(_is_parameter(value) for values in given for value in values):
        raise PydanticCustomError("catalogue", "a list of windows such as [14], or of [parameters]")
    return [[_number(value) for value in item] if isinstance(item, list) else _number(item) for item in listed]


def _is_parameter(value) -> bool:
    return isinstance(value, str) or isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _number(value):
    """1e-4 is a number to everybody but YAML, which wants 1.0e-4."""
    return float(value) if isinstance(value, str) and re.fullmatch(r"\d+(\.\d*)?[eE][-+]?\d+", value) else value


def _family(value):
    """A family's list, or of a higher timeframe its families: one or the other, so that a fault is told of the one that was meant."""
    return _FAMILIES.validate_python(value) if isinstance(value, dict) else _catalogue(value)


def _range(value) -> tuple[float, float, str]:
    """(lowest, highest, kind) of a parameter that is searched."""
    low, high, kind = value if isinstance(value, list | tuple) and len(value) == 3 else (None, None, None)
    sound = kind in ("int", "float", "log") and all(_is_parameter(end) and not isinstance(end, str) for end in (low, high))
    if not sound or low > high or kind == "log" and low <= 0 or kind == "int" and (low % 1 or high % 1):
        raise ValueError("[lowest, highest, int | float | log] such as [0.01, 0.1, log] (log: above 0; int: whole numbers)")
    return (int(low), int(high), kind) if kind == "int" else (float(low), float(high), kind)


_FAMILIES = TypeAdapter(dict[str, Annotated[list, BeforeValidator(_catalogue)]])
Family = Annotated[list | dict, BeforeValidator(_family)]
Folder = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,60}$")]  # of data/raw
Address = Annotated[str, AfterValidator(_address)]
Instant = Annotated[datetime, BeforeValidator(_instant)]
Timeframe = Annotated[str, AfterValidator(_timeframe)]
Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,30}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")]
TestBlock = Annotated[int | str, BeforeValidator(_test_block)]
Range = Annotated[tuple[int | float, int | float, str], BeforeValidator(_range)]
Lag = Annotated[Timeframe, AfterValidator(_lag)]
Symbols = Annotated[list[Symbol], AfterValidator(distinct)]
FileNames = Annotated[list[FileName], AfterValidator(distinct)]
