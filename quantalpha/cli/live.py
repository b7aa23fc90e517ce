"""`quantalpha prelive`, and what stands before a session that sends orders: where they may go, the list, a person's word."""

import asyncio
import math
import sys
from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli.base import AsJson, Overrides, Profile, app, judged, refuse_sealed, table
from quantalpha.errors import GateRefused, QuantalphaError, UsageError

VENUES = LIVE, TESTNET, REHEARSE = "live", "testnet", "rehearse"
Models = Annotated[list[str], typer.Option(help="Registered model; repeat for several in one account. Default: the promoted one.")]


@app.command()
def prelive(
    capital: Annotated[float, typer.Option(help="Quote currency that would be traded with.")],
    model: Models = (), profile: Profile = "default", overrides: Overrides = (), as_json: AsJson = False,
) -> None:  # fmt: skip
    """Go through the list that stands before live trading, and trade nothing; exit 3 unless every line holds."""
    from quantalpha.runner.composition import compose
    from quantalpha.runner.prelive import require

    params = config.load(profile, overrides)
    refuse_sealed(overrides)
    require_place(LIVE, params, capital)
    found = _lines(compose(promoted(model, LIVE, params, profile), capital), params, LIVE)
    with judged({"lines": [vars(line) for line in found]}, as_json, _shown(found)):
        require(found)


def promoted(models: list[str], mode: str, params: config.Params, profile: str) -> list:
    """The bundles promoted for the mode: for live money only what is registered as live."""
    from quantalpha import tracking

    for model in models:
        tracking.require_model(model)  # before what takes seconds to load
    from quantalpha import promotion

    return [promotion.champion(model, params, alias_of(mode), profile) for model in models or [None]]


def alias_of(mode: str) -> str:
    return "live" if mode == LIVE else "paper"


def require_place(mode: str, params: config.Params, capital: float | None) -> None:
    """UsageError unless mode, address and capital go together; before any network."""
    address = params.venue.rest_url or params.venue.ws_url
    places = [(f"{name}.{url}", getattr(getattr(params, name), url)) for name in ("venue", "route") for url in ("rest_url", "ws_url")]
    elsewhere = [f"{name} is {url}" for name, url in places if url is not None]  # the second venue is shown a key too
    if capital is not None and not 0 < capital < math.inf:
        raise UsageError(f"--capital: expected an amount of quote currency above 0, found {capital:g}")
    if mode == LIVE and capital is None:
        raise UsageError("--mode live: --capital is missing: say how much quote currency may be traded with, such as --capital 100")
    if mode in (LIVE, TESTNET) and elsewhere:
        raise UsageError(
            f"--mode {mode}: orders go to the venue's own address, but {', '.join(elsewhere)}; take it and the profile that sets it away, "
            "or use --mode rehearse"
        )
    if mode == REHEARSE and address is None:
        raise UsageError(
            "--mode rehearse: orders go to a practice exchange on this machine, but venue.rest_url names none; add --profile demo or "
            "--set venue.rest_url=http://127.0.0.1:8899"
        )


def clear(bundles: list, params: config.Params, mode: str, capital: float | None, confirm: str | None) -> None:
    """What must hold before orders of real money are sent; on the testnet the same list is only shown.

    GateRefused (exit 3) where a line fails or the words typed are not the account's name and the capital.
    """
    from quantalpha.runner.composition import compose
    from quantalpha.runner.prelive import require

    if mode == TESTNET:
        _warn(bundles, params, capital)
        return
    wanted = f"{_account(mode, params)} {capital:g}"
    typed = sys.stdin is not None and sys.stdin.isatty()
    if confirm is None and not typed:
        raise UsageError(f'--mode live: nobody is there to confirm; where no one can type, add --confirm "{wanted}"')
    found = _lines(compose(bundles, capital), params, mode)
    _print(found)
    require([line for line in found if not line.at_start])
    said = confirm if confirm is not None else _typed(f'type "{wanted}" to trade it with real money: ')
    if said.strip() != wanted:
        raise GateRefused(f'live: expected the words "{wanted}", found {said.strip()[:60]!r}; nothing was sent')


def _typed(question: str) -> str:
    """A line; "" where there is none any more. Asked on standard error: standard output is for the session's result."""
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline()


def _account(mode: str, params: config.Params) -> str:
    from quantalpha.runner.accounts import name_of

    return name_of(mode, params.venue)


def _lines(composition, params: config.Params, mode: str) -> list:
    from quantalpha.runner import clearance, prelive

    return prelive.lines(asyncio.run(clearance.gather(composition, params, mode)))


def _warn(bundles: list, params: config.Params, capital: float | None) -> None:
    from quantalpha.runner.composition import compose

    try:
        found = _lines(compose(bundles, capital), params, TESTNET)
    except UsageError:
        raise
    except QuantalphaError as error:
        print(config.mask(f"warning: the pre-live list could not be gone through: {error}"), file=sys.stderr)
        return
    _print(found)
    failed = [line.name for line in found if not line.passed]
    if failed:
        print(f"warning: with real money these lines would refuse: {', '.join(failed)}", file=sys.stderr)


def _print(found: list) -> None:
    """On standard error: standard output is for the session's result."""
    from rich.console import Console

    Console(stderr=True, soft_wrap=False).print(_shown(found), highlight=False)


def _shown(found: list):
    """At the session's start leverage and modes are set and read back, so that what differs now need not then."""
    words = {(True, False): "yes", (True, True): "yes", (False, True): "set at the start", (False, False): "NO"}
    rows = [{"asked": each.name, "wanted": each.wanted, "found": each.found, "holds": words[each.passed, each.at_start]} for each in found]
    return table("before live trading", rows)
