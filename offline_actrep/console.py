"""How the command line talks: options that commands share, progress, tables, refusals.

Exit codes: 0 done; 1 a fault of the program; 2 input refused (the message says what and how to
mend it); 130 interrupted. With `--json` standard output holds one JSON object, on failure
`{"error": ...}`; progress always goes to standard error.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep, note
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.files.parquet import ColumnMapping, read_log
from offline_actrep.files.store import is_store, open_store
from offline_actrep.files.toml import as_model, toml_content
from offline_actrep.nets.features import FeatureConfig, fourier_columns
from offline_actrep.run import Event, WorkerDied
from offline_actrep.simulators.catalog import make

FAULT = 1
REFUSED = 2
INTERRUPTED = 130
NOT_SETTINGS = frozenset(
    {"log", "data", "policy", "name", "seed", "features", "on_step", "on_checkpoint"}
)
"""Parameters of the functions called that `--set` must not touch."""

console = Console(stderr=True)

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
LogFiles = Annotated[list[str], typer.Argument(help="A store, or parquet files, folders or globs.")]
Columns = Annotated[
    Path | None, typer.Option("--columns", help="TOML with the log's own column names.")
]
Actions = Annotated[Path | None, typer.Option("--actions", help="Parquet table of all actions.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting, e.g. --set steps=9000; repeatable."),
]
Fourier = Annotated[
    list[str] | None, typer.Option(help="Column that also enters as sines; repeatable.")
]
Publish = Annotated[
    Path | None, typer.Option("--publish", help="Also keep the findings in this folder.")
]
Seed = Annotated[int, typer.Option(help="Of everything random in this command.")]
Preset = Annotated[str | None, typer.Option(help="One of the world's presets.")]
Recipes = Annotated[list[Path], typer.Argument(help="Recipes of data sets: datasets/*/*.toml.")]
Logs = Annotated[Path, typer.Option(help="Where made data sets lie.")]


def world_of(name: str, preset: str | None, n_worlds: int = 64) -> AbstractSimulator:
    """B of the named worlds."""
    options: dict[str, Any] = {} if preset is None else {"preset": preset}
    return make(name, n_worlds, **options)


def log_of(log: list[str], columns: Path | None, actions: Path | None) -> Log:
    """A log from parquet files, or from the one store that is named.

    Raises:
        ValueError: the log is refused, or a store comes with column names or an action table.
    """
    if len(log) == 1 and is_store(log[0]):
        if columns is not None or actions is not None:
            raise ValueError(
                f"{log[0]} is a store, which has its columns and its actions: leave out --columns "
                "and --actions"
            )
        return open_store(log[0])
    return read_log(log, columns=mapping_of(columns), action_table=actions)


def mapping_of(columns: Path | None) -> ColumnMapping:
    """The column names that a TOML file states, or the canonical ones."""
    if columns is None:
        return ColumnMapping()
    content = toml_content(columns)
    return as_model(columns, content.get("columns", content), ColumnMapping)


def features_of(log: Log, fourier: list[str] | None) -> FeatureConfig:
    """What networks see, from the names of columns."""
    return FeatureConfig(fourier=fourier_columns(log.observation_names, fourier or []))


def table_console() -> Console:
    """Wide enough for a table where the output is a file."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=140)


def parsed(entries: list[str] | None) -> dict[str, Any]:
    """The entries of `--set`: JSON where it is JSON, else strings."""
    settings = {}
    for entry in entries or []:
        name, equals, value = entry.partition("=")
        if not equals:
            raise ValueError(f"--set takes name=value, got {entry!r}")
        if name in NOT_SETTINGS:
            raise ValueError(f"--set {entry}: {name} is no setting; it has its own option or place")
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = value
    return settings


def say(found: Mapping[str, Any], as_json: bool) -> None:
    """One JSON object, or a line an entry."""
    if as_json:
        print(json.dumps(_finite(found), allow_nan=False))
    else:
        for name, value in found.items():
            print(f"{name}: {value}")


def _finite(value: Any) -> Any:
    """JSON knows no infinity and no NaN: they become null."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def refusing(as_json: bool) -> Iterator[None]:
    """Turns refused input, or an extra that is not installed, into a message and exit code 2.

    A process that was killed is told the same way, with exit code 1.
    """
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        _tell("refused", error, as_json)
        raise typer.Exit(REFUSED) from error
    except WorkerDied as error:
        _tell("failed", error, as_json)
        raise typer.Exit(FAULT) from error
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _tell(what: str, error: Exception, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": str(error)}))
    else:
        print(f"{what}: {error}", file=sys.stderr)


def _progress(shown: bool = True) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        console=console,
        disable=not shown,
    )


@contextmanager
def bar(what: str, *, shown: bool = True) -> Iterator[OnStep]:
    """A bar for one piece of work."""
    with _progress(shown) as progress:
        task = progress.add_task(what, total=None, note="")

        def on_step(done: int, total: int, losses: Mapping[str, float]) -> None:
            progress.update(task, completed=done, total=total, note=note(losses))

        yield on_step


@contextmanager
def stages() -> Iterator[Callable[[str], OnStep]]:
    """A bar a stage."""
    with _progress() as progress:

        def on_stage(what: str) -> OnStep:
            task = progress.add_task(what, total=None, note="")

            def on_step(done: int, total: int, losses: Mapping[str, float]) -> None:
                progress.update(task, completed=done, total=total, note=note(losses))

            return on_step

        yield on_stage


@contextmanager
def bars() -> Iterator[Any]:
    """A bar a stage on a terminal; a line a finished stage elsewhere."""
    tasks: dict[str, TaskID] = {}
    with _progress() as progress:

        def tell(event: Event) -> None:
            if event.stage not in tasks:
                tasks[event.stage] = progress.add_task(event.stage, total=event.total, note="")
            progress.update(
                tasks[event.stage], completed=event.done, total=event.total, note=event.note
            )
            if event.done == event.total and not console.is_terminal:
                print(f"{event.stage}: {event.note or 'done'}", file=sys.stderr, flush=True)

        yield tell
