"""`quantalpha data passport`, `check` and `query`: where the lake's rows come from, what is wrong with them, and SQL over them."""

from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli.base import AsJson, Overrides, Profile, data_app, show, table
from quantalpha.errors import DataError, UsageError

Symbols = Annotated[list[str], typer.Option("--symbol", help="Such as BTCUSDT; repeat for more. Default: data.symbols.")]
Kind = Annotated[str | None, typer.Option(help="bars, mark, index, open_interest or funding; or as the lake names them: 1h, mark-1h ...")]


@data_app.command()
def passport(
    symbol: Symbols = (), kind: Kind = None, profile: Profile = "default", overrides: Overrides = (), as_json: AsJson = False
) -> None:
    """Print where every stored month came from, its hash, and what has happened to it: revisions, repairs, disagreements."""
    from quantalpha.market import inspection, kinds
    from quantalpha.market.lacking import kind_names

    params, lake = _lake(profile, overrides)
    venue, own = params.venue.kept_as, kind_names(params.venue.name, params.data)
    kind = own.get(kind or "bars", kind or params.data.timeframe)
    kinds.bar_length(kind)  # a UsageError for what is no kind
    told = {name: inspection.passports(lake, venue, name, kind) for name in symbol or params.data.symbols}
    if empty := [name for name, rows in told.items() if not rows]:
        raise DataError(f"data/raw/{venue}/{empty[0]}/{kind}: no months; run `quantalpha data download` or `quantalpha import`")
    if as_json:
        months = [
            {"venue": venue, "symbol": name, "kind": kind, "month": month} | vars(each) | {"id": each.id}
            for name in told
            for month, each in lake.passports(venue, name, kind).items()
        ]
        return show(months, True, "")
    for name, rows in told.items():
        sources = sorted({row[who] for row in rows for who in ("source", "second source")} - {"-"})
        show(rows, False, table(f"{venue} {name} {kind}, from {', '.join(sources)}; + can still grow", [_short(row) for row in rows]))
    return None


@data_app.command()
def check(symbol: Symbols = (), profile: Profile = "default", overrides: Overrides = (), as_json: AsJson = False) -> None:
    """Judge what the lake holds: gaps, duplicates, rows that break a rule, and bars to be doubted (section quality of params.yaml)."""
    from quantalpha.market import inspection

    params, lake = _lake(profile, overrides)
    venue, rows = params.venue.kept_as, []
    for name in symbol or params.data.symbols:
        found = list(inspection.inspect_lake(lake, name, params))
        if not found:
            raise DataError(f"data/raw/{venue}/{name}: nothing stored; run `quantalpha data download` or `quantalpha import`")
        rows += found
    show(rows, as_json, _turned(venue, rows))


@data_app.command()
def query(
    sql: Annotated[str, typer.Argument(help="SELECT ... FROM bars: columns venue, symbol, kind, timestamp and the months' own.")],
    venue: Annotated[str, typer.Option(help="Read only this venue's months.")] = "*",
    symbol: Annotated[str, typer.Option(help="Read only this symbol's.")] = "*",
    kind: Annotated[str, typer.Option(help="Read only this kind's.")] = "*",
    profile: Profile = "default", overrides: Overrides = (), as_json: AsJson = False,
) -> None:  # fmt: skip
    """Ask the lake by SQL (DuckDB); the hold-out stays sealed, and nothing but the lake can be read."""
    from quantalpha.market import query as lake_query

    if not sql.strip():
        raise UsageError("data query: expected SQL such as 'select count(*) from bars', found nothing")
    found = lake_query.query(_lake(profile, overrides)[1], sql, venue=venue, symbol=symbol, kind=kind)
    if as_json:
        return show(found.to_dict("records"), True, "")
    told = f"{len(found):,} rows" + (f", the first {SHOWN}; --json prints all" if len(found) > SHOWN else "")
    rows = [{name: _exact(value) for name, value in row.items()} for row in found.head(SHOWN).to_dict("records")]
    return show(rows, False, table(told, rows) if rows else "no rows")


def _exact(value) -> str:
    """As it is: a price of the lake is not rounded."""
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _short(row: dict) -> dict:
    """What fits beside each other; --json has all."""
    growing = "" if row["complete"] == "yes" else "+"
    return {"month": row["month"] + growing} | {name: row[name] for name in ("rows", "gaps", "revised", "repaired", "disputed", "passport")}


SHOWN = 50  # rows of an answer that are printed


def _lake(profile: str, overrides: list[str]):
    from quantalpha import market

    params = config.load(profile, overrides)
    return params, market.research_lake(params)


def _turned(venue: str, rows: list[dict]):
    """A column a table of rows, a line a finding: there are more findings than fit beside each other."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("venue", "symbol", "kind")]
    lines = [{"": name} | {f"{row['symbol']} {row['kind']}": _cell(row.get(name, "-")) for row in rows} for name in names]
    return table(f"quality of {venue}", lines)


def _cell(value) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
