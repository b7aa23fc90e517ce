"""The command line: every command reads `params.yaml` under --profile and --set, prints a table or --json, and exits with a stable code.

0 ok · 1 failed stage or bug · 2 usage · 3 refused by a gate · 4 bad data · 5 exchange unreachable · 6 does not reconcile · 7 halted
130 interrupted
"""

import errno
import json
import sys

try:
    from quantalpha import config
    from quantalpha.cli import (
        approve,
        archive,
        data,
        doctor,
        download,
        export,
        imports,
        kill,
        live,
        pipeline,
        promotion,
        record,
        report,
        servers,
        session,
    )  # fmt: skip
    from quantalpha.cli.base import app
    from quantalpha.errors import QuantalphaError, UsageError
except KeyboardInterrupt:  # pressed while it loads
    sys.exit(130)

__all__ = [
    "app", "approve", "archive", "data", "doctor", "download", "export", "imports", "kill", "live", "main", "pipeline", "promotion",
    "record", "report", "servers", "session",
]  # fmt: skip

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def main() -> None:
    """Entry point; turns every QuantalphaError into one line and its exit code."""
    try:
        app()
    except QuantalphaError as error:
        message = config.mask(str(error))
        if "--json" in sys.argv:
            document = {"error": type(error).__name__, "message": message, "exit_code": error.exit_code} | error.details
            print(config.mask(json.dumps(document, indent=2, default=str)))
        print(f"error: {message}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"error: {where}{error.strerror}; free space or mend the permissions, then run again: nothing is half-written", file=sys.stderr
        )
        sys.exit(UsageError.exit_code)
    except SystemExit as ended:
        if ended.code == 130:  # how typer passes Ctrl-C on
            print("interrupted: nothing is left half-written, what is finished stays; run again to go on", file=sys.stderr)
        raise
