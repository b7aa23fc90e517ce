"""`quantalpha pipeline`: run, look at and schedule the notebooks."""

from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli.base import AsJson, Overrides, Profile, app, show, table

pipeline_app = typer.Typer(no_args_is_help=True, help="Run the notebooks of a pipeline; unchanged stages are skipped.")
app.add_typer(pipeline_app, name="pipeline")

Name = Annotated[str, typer.Argument(help="A file in pipelines/, without .yaml.")]


@pipeline_app.command("run")
def pipeline_run(
    name: Name = "research", profile: Profile = "default", overrides: Overrides = (),
    only: Annotated[list[str], typer.Option(help="A stage, or one of it such as train-BTCUSDT-lightgbm, and what it needs.")] = (),
    force: Annotated[bool, typer.Option(help="Run the named stages (or all) even if nothing changed.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Run the stages of a pipeline that are not fresh."""
    from quantalpha import pipeline

    report = pipeline.run(name, profile, overrides, only=only or None, force=force, progress=not as_json)
    ran = sum(row["status"] == "done" for row in report.rows)
    text = f"{ran} of {len(report.rows)} stages executed, the rest skipped, in {report.seconds:.1f} s; MLflow run {report.run_id}"
    show({"run_id": report.run_id, "seconds": report.seconds, "stages": report.rows}, as_json, text)
    raise typer.Exit(report.exit_code)


@pipeline_app.command("status")
def pipeline_status(name: Name = "research", profile: Profile = "default", overrides: Overrides = (), as_json: AsJson = False) -> None:
    """Show each stage: fresh, stale and why, failed, running."""
    from quantalpha import pipeline

    rows = pipeline.status(name, profile, overrides)
    shown = [{"stage": row["id"], "status": row["status"], "why": row["reason"], "finished": (row["finished"] or "")[:19]} for row in rows]
    show(rows, as_json, table(f"pipeline {name} ({profile})", shown))


@pipeline_app.command("schedule")
def pipeline_schedule(
    cron: Annotated[str, typer.Option(help="Minute hour day month weekday, UTC: '5 * * * *'.")],
    name: Name = "research", profile: Profile = "default", overrides: Overrides = (),
    grace: Annotated[float, typer.Option(help="Seconds a run may start late before it is left out.")] = 300.0,
) -> None:  # fmt: skip
    """Run a pipeline on a cron expression until interrupted; runs never overlap."""
    from quantalpha import pipeline

    config.load(profile, overrides)
    pipeline.schedule(lambda: pipeline.run(name, profile, overrides, progress=False), cron, grace=grace)
