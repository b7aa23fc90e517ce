"""A drill of the kill switches: each is tripped on a practice exchange by what it is there for, and must do all that it promises.

    report = drill.run(bundle, params, say=print)

For every switch a session of its own holds a position of the bundle's market; then prices gap, the venue falls silent, a stranger trades on
the account, the session's process is stopped. The switch must trip under its own name, the venue must say that nothing is held and nothing
rests, no session may start while the account is latched (exit 7), a reset must ask for a reason, and after it the account must trade again.
The exchange is always one of the drill's own, on a free port of this machine, for it must be broken: `venue.rest_url` is not asked. The
sessions lie in a workspace of their own, data/drills/TIME, and the record where `prelive` looks for it: `runner.drills`.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from quantalpha import config
from quantalpha.bundle import Bundle
from quantalpha.drill.exercises import exercises
from quantalpha.drill.performance import perform
from quantalpha.drill.scene import Stage
from quantalpha.runner.accounts import AccountFolder, name_of
from quantalpha.runner.drills import Line, Report

__all__ = ["run"]


def run(bundle: Bundle, params: config.Params, *, only: tuple[str, ...] = (), say: Callable[[str], None] = lambda text: None) -> Report:
    """Every switch in turn, or those named in `only`; a complete drill is recorded. say: told each line as soon as it is known.

    Raises what starting a session does; a switch that fails is a line of the report.
    """
    stage = Stage.build(bundle, params, config.path("data/drills") / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    lines: list[Line] = []
    for each in exercises(params):
        if not only or each.name in only:
            lines.append(perform(stage, each))
            say(str(lines[-1]))
    report = Report.of(bundle.id, lines, str(stage.root))
    if not only:
        report.write(AccountFolder(name_of("rehearse", params.venue)))
    return report
