"""Commands on logs: convert, check, import, re-label, hand on to other tools."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from offline_actrep.console import (
    Actions,
    Columns,
    Fourier,
    JsonFlag,
    LogFiles,
    Seed,
    Settings,
    bar,
    features_of,
    log_of,
    mapping_of,
    parsed,
    refusing,
    say,
)
from offline_actrep.convert import Conversion, dry_run
from offline_actrep.convert import convert as convert_log
from offline_actrep.convert import explain as explain_log
from offline_actrep.core.settings import checked
from offline_actrep.files.artifact import may_become, read_json
from offline_actrep.files.exchange.catalog import import_log
from offline_actrep.files.exchange.d3rlpy import write_d3rlpy
from offline_actrep.files.exchange.minari import minari_dataset
from offline_actrep.files.exchange.rllib import write_rllib
from offline_actrep.files.store import open_store, verify_store, write_store
from offline_actrep.ope.propensities import PropensityConfig, estimate_propensities
from offline_actrep.propensity_report import write_propensities
from offline_actrep.relabel import relabel as relabel_log
from offline_actrep.relabel_stream import relabel_files
from offline_actrep.saved import load_representation

app = typer.Typer()


class Quarantine(StrEnum):
    """What becomes of broken episodes."""

    keep = "keep"
    fail = "fail"


class Form(StrEnum):
    """What a conversion writes."""

    store = "store"
    parquet = "parquet"


class Target(StrEnum):
    """Tools that a log can be handed to."""

    d3rlpy = "d3rlpy"
    minari = "minari"
    rllib = "rllib"


@app.command()
def convert(
    sources: Annotated[
        list[str], typer.Argument(help="Files, globs, folders or URLs: parquet, Arrow, csv, JSONL.")
    ],
    out: Annotated[Path | None, typer.Option(help="The folder to be; needed but to look.")] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="TOML that says what the columns mean.")
    ] = None,
    actions: Actions = None,
    quarantine: Annotated[
        Quarantine, typer.Option(help="Put broken episodes aside, or stop at the first.")
    ] = Quarantine.keep,
    form: Annotated[
        Form, typer.Option("--format", help="Memory-mapped columns, or canonical parquet.")
    ] = Form.store,
    explained: Annotated[
        bool, typer.Option("--explain", help="Say what the mapping makes of the first rows.")
    ] = False,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Look through the keys and say what would be done.")
    ] = False,
    resume: Annotated[
        bool, typer.Option(help="Go on where a run that was cut short ended.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Every rule that was broken, and where first.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Turn a log of any size into a store that opens in milliseconds: checked, counted, resumable.

    Broken episodes go to quarantine.parquet with the rule, file, row and value; report.html beside
    the store tells what was found.
    """
    with refusing(as_json):
        if explained:
            text = explain_log(sources, mapping=mapping)
            say({"explanation": text}, as_json) if as_json else print(text)
            return
        if dry:
            with bar("look through", shown=not quiet) as on_step:
                outlook = dry_run(sources, mapping=mapping, on_step=on_step)
            say(vars(outlook), as_json) if as_json else print(outlook)
            return
        if out is None:
            raise ValueError("convert needs --out, the folder to be (or --explain, or --dry-run)")
        with bar("convert", shown=not quiet) as on_step:
            made = convert_log(
                sources,
                out=out,
                mapping=mapping,
                action_table=actions,
                quarantine=quarantine.value,
                format=form.value,
                resume=resume,
                on_step=on_step,
            )
        if as_json:
            say(made.as_dict(), as_json)
        elif not quiet:
            _tell_conversion(made, verbose)


def _tell_conversion(made: Conversion, verbose: bool) -> None:
    rate = f"{made.rows_a_second:,.0f} rows/s" if made.rows_read else "nothing left to read"
    refused = f"{made.refused_rows:,} rows in {made.refused_episodes:,} episodes"
    told: dict[str, Any] = {
        "log": made.folder,
        "kept": f"{made.rows:,} rows in {made.episodes:,} episodes",
        "refused": refused if made.refused_rows else "nothing",
        "seconds": f"{made.seconds:.1f} ({rate})",
        "report": made.folder / "report.html",
    }
    if made.refused_rows:
        told["quarantine"] = made.folder / "quarantine.parquet"
    say(told, False)
    if made.rules:
        found = read_json(made.folder / "report.json")["rules"]
        for name, rows in made.rules.items():
            first = found[name]["first"]
            where = "" if first is None else ", first in " + ", ".join(
                f"{key} {first[key]}" for key in ("file", "row", "column") if key in first
            )  # fmt: skip
            print(f"  {found[name]['severity']} {name}: {rows:,} rows{where if verbose else ''}")


@app.command()
def check(
    store: Annotated[Path, typer.Argument(help="A store.")], as_json: JsonFlag = False
) -> None:
    """Read all of a store: hashes, every rule of a log, the statistics of its manifest."""
    with refusing(as_json):
        verify_store(store)
        log = open_store(store)
        found = {"store": str(store), "rows": len(log), "episodes": log.n_episodes}
        say(found | {"actions": len(log.action_set)}, as_json)


@app.command(name="import")
def import_public(
    name: Annotated[str, typer.Argument(help="A public log, see datasets/README.md.")],
    folder: Annotated[Path, typer.Argument(help="Where its files lie.")],
    out: Annotated[Path, typer.Option(help="The store to be.")],
    settings: Settings = None,
    as_json: JsonFlag = False,
) -> None:
    """Turn a public log into a store."""
    with refusing(as_json):
        log = import_log(name, folder, **parsed(settings))
        write_store(log, out, {"imported": name})
        found = {"store": str(out), "rows": len(log), "episodes": log.n_episodes}
        say(found | {"actions": len(log.action_set)}, as_json)


@app.command()
def relabel(
    log: LogFiles,
    points: Annotated[Path, typer.Option(help="Folder of a representation.")],
    out: Annotated[Path, typer.Option(help="The folder to be.")],
    sidecar: Annotated[
        bool, typer.Option("--sidecar", help="The points alone, as one array points.npy.")
    ] = False,
    resume: Annotated[
        bool, typer.Option(help="Go on where a run that was cut short ended.")
    ] = True,
    columns: Columns = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a log of any size with a point beside every action id, at constant memory."""
    with refusing(as_json), bar("relabel") as on_step:
        made = relabel_files(
            log[0] if len(log) == 1 else log,
            load_representation(points),
            out,
            columns=mapping_of(columns),
            sidecar=sidecar,
            resume=resume,
            on_step=on_step,
        )
    found = {"relabelled": str(made.folder), "rows": made.rows, "dim": made.dim}
    say(found | {"parts": made.parts, "kept": made.kept}, as_json)


@app.command()
def export(
    log: LogFiles,
    to: Annotated[Target, typer.Option(help="Whose format.")],
    out: Annotated[str, typer.Option(help="The file to be; of Minari the data set's id, x-v0.")],
    points: Annotated[
        Path | None, typer.Option(help="Folder of a representation; without it actions are ids.")
    ] = None,
    arrow: Annotated[bool, typer.Option("--arrow", help="Minari: Arrow instead of HDF5.")] = False,
    columns: Columns = None,
    actions: Actions = None,
    as_json: JsonFlag = False,
) -> None:
    """Hand a log, re-labelled or not, to another tool: d3rlpy, Minari, RLlib."""
    with refusing(as_json), bar("relabel") as on_step:
        read = log_of(log, columns, actions)
        made = None
        if points is not None:
            made = relabel_log(read, load_representation(points), on_step=on_step).points
        if to is Target.minari:
            if made is None:
                raise ValueError("of Minari the actions are points: add --points")
            minari_dataset(read, made, out, data_format="arrow" if arrow else "hdf5")
        else:
            {Target.d3rlpy: write_d3rlpy, Target.rllib: write_rllib}[to](read, Path(out), made)
        say({"exported": out, "rows": len(read), "episodes": read.n_episodes}, as_json)


@app.command()
def propensities(
    log: LogFiles,
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    seed: Seed = 0,
    fourier: Fourier = None,
    columns: Columns = None,
    actions: Actions = None,
    settings: Settings = None,
    as_json: JsonFlag = False,
) -> None:
    """Estimate the probability of every logged action; says how well calibrated it is.

    Writes the log with these propensities in place of its own, and a calibration curve. Logged
    propensities, where there are any, are compared with them.
    """
    with refusing(as_json), bar("propensities") as on_step:
        may_become(out, "propensities")
        read = log_of(log, columns, actions)
        made = estimate_propensities(
            read,
            seed=seed,
            features=features_of(read, fourier),
            config=checked("propensities", PropensityConfig, parsed(settings)),
            on_step=on_step,
        )
        page = write_propensities(read, made, out, seed=seed)
        said = {name: value for name, value in made.as_dict().items() if name != "curve"}
        say({"out": str(out), "report": str(page)} | said, as_json)
