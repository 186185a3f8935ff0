"""The command that compares methods: run, tune, check and draw a bench."""

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from offline_actrep.bench.checking import DIFFERS, check
from offline_actrep.bench.draw import draw
from offline_actrep.bench.job import Job, Only, Places, Told, alone
from offline_actrep.bench.plan import read_bench
from offline_actrep.bench.rows import read_rows
from offline_actrep.bench.running import run_bench, sorted_out, unjudged, wanted
from offline_actrep.bench.tuning import Tuned, tune
from offline_actrep.console import FAULT, JsonFlag, Logs, refusing, say
from offline_actrep.core.progress import OnStep
from offline_actrep.run import Event

app = typer.Typer()

Flag = typer.Option


@app.command()
def bench(
    recipe: Annotated[Path, typer.Argument(help="The bench's TOML.")],
    logs: Logs = Path("logs"),
    out: Annotated[
        Path | None,
        Flag(help="The runs' folders are made in here; without it in runs/<name of the bench>."),
    ] = None,
    publish_to: Annotated[
        Path | None,
        Flag(
            "--publish",
            help="Folder of the rows, tables and figures; without it results/<name of the bench> "
            "beside the TOML.",
        ),
    ] = None,
    worlds: Annotated[list[str] | None, Flag(help="Only this world; repeatable.")] = None,
    tiers: Annotated[list[str] | None, Flag(help="Only this tier; repeatable.")] = None,
    methods: Annotated[list[str] | None, Flag(help="Only this method; repeatable.")] = None,
    seeds: Annotated[list[int] | None, Flag(help="Only this seed; repeatable.")] = None,
    sweeps: Annotated[
        bool | None, Flag("--sweeps/--no-sweeps", help="Only the sweeps, or all but them.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes side by side.")] = 2,
    tune_first: Annotated[
        bool, Flag("--tune", help="Run the trials that choose settings.")
    ] = False,
    check_rows: Annotated[bool, Flag("--check", help="Run some rows again and compare.")] = False,
    draw_rows: Annotated[bool, Flag("--report", help="Draw the rows; run nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Compare methods over worlds; what has its row already is not run again."""
    with refusing(as_json):
        if tune_first + check_rows + draw_rows > 1:
            raise ValueError("take one of --tune, --check and --report at a time")
        read = read_bench(recipe)
        only = Only(worlds or (), tiers or (), methods or (), seeds or (), sweeps)
        only.check(read)
        places = Places(
            logs,
            out or Path("runs") / read.name,
            publish_to or recipe.parent / "results" / read.name,
        )
        job = Job(read, places, _told(), only, workers)
        asked = {_tuned: tune_first, _checked: check_rows, _drawn: draw_rows}
        mode = next((mode for mode, wanted in asked.items() if wanted), _run)
        with nullcontext() if draw_rows else alone(job.places):
            found = mode(job)
        say(found, as_json)
    if job.told.failed:
        raise typer.Exit(FAULT)  # something failed, or a row could not be had again


def _run(job: Job) -> Mapping[str, object]:
    new = run_bench(job)
    rows = read_rows(job.places.rows)
    setups = wanted(job.bench, Tuned.read(job.places.tuned))
    current, outdated = sorted_out(rows, setups)
    return {
        "rows": str(job.places.rows),
        "new": len(new),
        "there": len(current),
        "missing": len(setups) - len(current),
        "outdated": len(outdated),
        "unjudged": unjudged(job.bench, current),
        "failed": job.told.failed,
    }


def _tuned(job: Job) -> Mapping[str, object]:
    tune(job)
    return {"trials": str(job.places.tuned), "failed": job.told.failed}


def _checked(job: Job) -> Mapping[str, object]:
    found = {}
    for each in check(job):
        name = f"{each.row.method} on {each.row.cell.name}, seed {each.row.seed}"
        found[name] = f"{each.verdict}: {each.why}"
        if each.verdict == DIFFERS:
            job.told.failed.append(name)
    return found


def _drawn(job: Job) -> Mapping[str, object]:
    return {"page": str(draw(job)), "tables": str(job.places.publish / "bench.md")}


def _told() -> Told:
    """A line on standard error for whatever ends: a bench has thousands of stages."""

    def line(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def on_event(event: Event) -> None:
        if event.done == event.total and event.note != "kept":
            line(f"{event.stage}: {event.note or 'done'}")

    def on_stage(what: str) -> OnStep:
        line(what)
        return lambda done, total, losses: None

    return Told(on_event, on_stage, line)
