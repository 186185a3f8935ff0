"""The command line: parse, load, call one function, save, print the path.

Exit codes: 0 done; 1 a fault of the program; 2 input refused (the message says what and how to
mend it); 130 interrupted. With `--json` standard output holds one JSON object, on failure
`{"error": ...}`; progress always goes to standard error.
"""

import json
import math
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from pydantic import ValidationError
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

from offline_actrep.behaviour import collect as collect_log
from offline_actrep.behaviour import make_behaviour
from offline_actrep.card import coverage, headroom, write_card
from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep, note
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.dataset import make_dataset, measure, overview, read_dataset
from offline_actrep.dataset import publish as publish_datasets
from offline_actrep.evaluate import estimate as estimate_policy
from offline_actrep.evaluate import evaluate as evaluate_policy
from offline_actrep.files.artifact import new_artifact, write_json
from offline_actrep.files.exchange.ngram_purchases import read_purchases
from offline_actrep.files.parquet import ColumnMapping, read_log, write_action_table, write_log
from offline_actrep.gallery import draw_worlds
from offline_actrep.nets.features import FeatureConfig, fourier_columns
from offline_actrep.offline.train import train as train_learner
from offline_actrep.online.learners import IDS
from offline_actrep.online.train import train_online
from offline_actrep.ope.propensities import PropensityConfig, estimate_propensities
from offline_actrep.plots import calibration
from offline_actrep.plots import save as save_figure
from offline_actrep.recipe import read_recipe
from offline_actrep.relabel import Relabelled
from offline_actrep.relabel import relabel as relabel_log
from offline_actrep.report import render_table
from offline_actrep.representations.catalog import fit as fit_representation
from offline_actrep.representations.external import external_points
from offline_actrep.representations.probe import probe as probe_points
from offline_actrep.run import Event, Layout
from offline_actrep.run import run as run_recipe
from offline_actrep.saved import (
    load_policy,
    load_representation,
    save_policy,
    save_representation,
)
from offline_actrep.simulators.catalog import make
from offline_actrep.simulators.ngram_tables import NgramTables
from offline_actrep.summary import probe_table, publish, results_table, summarise

REFUSED = 2
INTERRUPTED = 130
NOT_SETTINGS = frozenset(
    {"log", "data", "policy", "name", "seed", "features", "on_step", "on_checkpoint"}
)
"""Parameters of the functions called that `--set` must not touch."""

app = typer.Typer(
    help="Offline reinforcement learning when the actions are thousands of discrete things.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(stderr=True)

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
LogFiles = Annotated[list[str], typer.Argument(help="Parquet files, folders or globs of a log.")]
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


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="The pipeline's TOML.")],
    out: Annotated[Path, typer.Option(help="The run's folder is made in here.")] = Path("runs"),
    workers: Annotated[int, typer.Option(min=1, help="Processes side by side.")] = 2,
    publish_to: Publish = None,
    as_json: JsonFlag = False,
) -> None:
    """Run every stage of a pipeline; finished ones are skipped."""
    with _refusing(as_json):
        read = read_recipe(recipe)
        with _bars() as tell:
            layout = run_recipe(read, out, workers=workers, on_event=tell)
        _show_run(layout, publish_to, as_json)


@app.command()
def report(
    recipe: Annotated[Path, typer.Argument(help="The pipeline's TOML.")],
    out: Annotated[Path, typer.Option(help="Where the run's folder lies.")] = Path("runs"),
    publish_to: Publish = None,
    as_json: JsonFlag = False,
) -> None:
    """Draw a finished run again: figures, table and report."""
    with _refusing(as_json):
        read = read_recipe(recipe)
        _show_run(Layout(read, out / read.name), publish_to, as_json)


@app.command()
def collect(
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    world: Annotated[str, typer.Argument(help="The simulator.")] = "maze",
    preset: Preset = None,
    behaviour: Annotated[str, typer.Option(help="Who plays.")] = "maze_mixture",
    rows: Annotated[int, typer.Option(min=1, help="At least so many rows.")] = 100_000,
    seed: Seed = 0,
    card: Annotated[
        Path | None, typer.Option(help="Also measure the log's headroom into this card.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Play a world and write the log, exact propensities included."""
    with _refusing(as_json):
        worlds = _world(world, preset)
        log = collect_log(
            make_behaviour(behaviour, worlds.action_set), worlds, rows=rows, seed=seed
        )
        write_log(log, out)
        actions = out.with_name(out.stem + ".actions.parquet")
        write_action_table(worlds.action_set, actions)
        found: dict[str, Any] = {
            "log": str(out), "actions": str(actions), "rows": len(log),
            "episodes": log.n_episodes, "behaviour_return": float(log.returns.mean()),
        }  # fmt: skip
        if card is not None:
            with _bar("headroom") as on_step:
                measured = headroom(log, worlds, seed=seed, on_step=on_step)
            made_by = (
                f"collect {world}{'' if preset is None else f' --preset {preset}'} "
                f"--behaviour {behaviour} --rows {rows} --seed {seed}"
            )
            write_card(card, log, measured, coverage(log), made_by=made_by)
            found |= {"card": str(card), "headroom": measured.as_dict()}
        _say(found, as_json)


@app.command()
def fit(
    log: LogFiles,
    out: Annotated[Path, typer.Option(help="Folder for the representation.")],
    method: Annotated[str, typer.Option(help="The representation.")] = "merlion",
    seed: Seed = 0,
    columns: Columns = None,
    actions: Actions = None,
    fourier: Fourier = None,
    settings: Settings = None,
    as_json: JsonFlag = False,
) -> None:
    """Fit a representation: a point for every action in every state."""
    with _refusing(as_json):
        read = _read(log, columns, actions)
        with _bar(f"fit {method}") as on_step:
            made = fit_representation(
                method,
                read,
                seed=seed,
                features=_features(read, fourier),
                on_step=on_step,
                **_settings(settings),
            )
        save_representation(made, out, {"log": read.fingerprint, "seed": seed})
        _say(
            {"representation": str(out), "dim": made.dim, "actions": len(read.action_set)},
            as_json,
        )


@app.command()
def probe(
    log: LogFiles,
    points: Annotated[Path, typer.Option(help="Folder of a representation.")],
    world: Annotated[str | None, typer.Option(help="Simulator that knows true effects.")] = None,
    preset: Preset = None,
    seed: Seed = 0,
    columns: Columns = None,
    actions: Actions = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure whether the points are any good."""
    with _refusing(as_json):
        made = load_representation(points)
        truth = None if world is None else _world(world, preset, 1).effects
        found = probe_points(_read(log, columns, actions), made, seed=seed, effects=truth).as_dict()
        if as_json:
            _say(found, as_json)
        else:
            entry = {"representation": points.name, "seed": seed, **found}
            _table_console().print(render_table(probe_table([entry])))


@app.command()
def relabel(
    log: LogFiles,
    points: Annotated[Path, typer.Option(help="Folder of a representation.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    columns: Columns = None,
    actions: Actions = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the log with a point beside every action id."""
    with _refusing(as_json), _bar("relabel") as on_step:
        data = relabel_log(
            _read(log, columns, actions), load_representation(points), on_step=on_step
        )
        data.write_parquet(out)
    _say({"relabelled": str(out), "rows": len(data.log), "dim": data.points.shape[1]}, as_json)


@app.command()
def train(
    log: LogFiles,
    out: Annotated[Path, typer.Option(help="Folder for the policy.")],
    method: Annotated[str, typer.Option(help="The learner.")] = "cql",
    points: Annotated[
        Path | None, typer.Option(help="Folder of a representation, for learners of points.")
    ] = None,
    seed: Seed = 0,
    columns: Columns = None,
    actions: Actions = None,
    fourier: Fourier = None,
    settings: Settings = None,
    as_json: JsonFlag = False,
) -> None:
    """Train a policy on a log: cql, bcq, td3_plus_bc on points; discrete_... on ids."""
    with _refusing(as_json):
        read = _read(log, columns, actions)
        data: Log | Relabelled = read
        if points is not None:
            data = relabel_log(read, load_representation(points))
        with _bar(f"train {method}") as on_step:
            policy = train_learner(
                data,
                method,
                seed=seed,
                features=_features(read, fourier),
                on_step=on_step,
                **_settings(settings),
            )
        save_policy(policy, out, {"log": read.fingerprint, "seed": seed})
        _say({"policy": str(out), "method": method}, as_json)


@app.command(name="train-online")
def train_online_in(
    world: Annotated[str, typer.Argument(help="The simulator.")],
    out: Annotated[Path, typer.Option(help="Folder for the policy.")],
    preset: Preset = None,
    method: Annotated[str, typer.Option(help="The online learner.")] = "ppo",
    points: Annotated[
        Path | None,
        typer.Option(help="Folder of a representation; without it the actions' own features."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Decisions, of all worlds.")] = 250_000,
    seed: Seed = 0,
    fourier: Fourier = None,
    settings: Settings = None,
    as_json: JsonFlag = False,
) -> None:
    """Train a policy that acts while it learns, on points or (discrete_...) on ids."""
    with _refusing(as_json):
        played = _world(world, preset)
        names = played.observation_names
        made = None
        if points is not None:
            made = load_representation(points)
        elif method not in IDS:
            made = external_points(played.action_set, observation_size=len(names))
        with _bar(f"train {method}") as on_step:
            policy = train_online(
                played,
                method,
                made,
                steps=steps,
                seed=seed,
                features=FeatureConfig(fourier=fourier_columns(names, tuple(fourier or ()))),
                on_step=on_step,
                **_settings(settings),
            )
        save_policy(policy, out, {"world": world, "seed": seed})
        _say({"policy": str(out), "method": method, "steps": steps}, as_json)


@app.command()
def evaluate(
    policy: Annotated[Path, typer.Argument(help="Folder of a policy.")],
    world: Annotated[str, typer.Option(help="The simulator.")] = "maze",
    preset: Preset = None,
    episodes: Annotated[int, typer.Option(min=1, help="How many to play.")] = 200,
    seed: Seed = 1,
    as_json: JsonFlag = False,
) -> None:
    """Play a policy in a simulator: its return with a 95 % interval."""
    with _refusing(as_json):
        found = evaluate_policy(
            load_policy(policy), _world(world, preset), episodes=episodes, seed=seed
        )
        _say(found.as_dict(), as_json)


@app.command()
def estimate(
    policy: Annotated[Path, typer.Argument(help="Folder of a policy.")],
    log: LogFiles,
    name: Annotated[str, typer.Option(help="The estimator.")] = "fqe",
    seed: Seed = 0,
    columns: Columns = None,
    actions: Actions = None,
    settings: Settings = None,
    as_json: JsonFlag = False,
) -> None:
    """Estimate a policy's discounted return from a log alone."""
    with _refusing(as_json), _bar(name) as on_step:
        found = estimate_policy(
            load_policy(policy),
            _read(log, columns, actions),
            name,
            seed=seed,
            on_step=on_step,
            **_settings(settings),
        )
    _say(found.as_dict(), as_json)


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
    with _refusing(as_json), _bar("propensities") as on_step:
        read = _read(log, columns, actions)
        made = estimate_propensities(
            read,
            seed=seed,
            features=_features(read, fourier),
            config=PropensityConfig(**_settings(settings)),
            on_step=on_step,
        )
        with new_artifact(out, {"kind": "propensities", "seed": seed}) as draft:
            write_log(made.on(read), draft / "log.parquet")
            write_action_table(read.action_set, draft / "actions.parquet")
            write_json(draft / "propensities.json", made.as_dict())
            bins = np.array([(b.predicted, b.observed, b.low, b.high) for b in made.curve])
            save_figure(calibration(*bins.T), draft / "calibration.png")
        said = {name: value for name, value in made.as_dict().items() if name != "curve"}
        _say({"out": str(out)} | said, as_json)


def main() -> None:
    """The program; small networks on few cores are fastest with one thread."""
    torch.set_num_threads(1)
    app()


@app.command()
def dataset(
    recipes: Recipes,
    out: Logs = Path("logs"),
    as_json: JsonFlag = False,
) -> None:
    """Make logs from nothing: train what plays, play, write; finished parts are skipped."""
    with _refusing(as_json):
        read = [read_dataset(recipe) for recipe in recipes]
        with _stages() as on_stage:
            made = [make_dataset(recipe, out, on_stage=on_stage) for recipe in read]
        _say({each.recipe.name: str(each.log / "log.parquet") for each in made}, as_json)


@app.command(name="headroom")
def headroom_of(
    recipes: Recipes,
    out: Logs = Path("logs"),
    episodes: Annotated[int, typer.Option(min=2, help="Of each evaluation.")] = 500,
    publish_to: Annotated[
        Path | None,
        typer.Option(
            "--publish", help="Also keep cards, samples and checksums in this folder's folders."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """What is there to gain: random, behaviour, behaviour cloning, best known; and coverage."""
    with _refusing(as_json):
        read = [read_dataset(recipe) for recipe in recipes]
        with _stages() as on_stage:
            made = [make_dataset(recipe, out, on_stage=on_stage) for recipe in read]
            found = [
                measure(each, episodes=episodes, on_step=on_stage(f"{each.recipe.name}: headroom"))
                for each in made
            ]
        if publish_to is not None:
            publish_datasets(recipes, made, found, publish_to)
        if as_json:
            _say({each.recipe.name: row for each, row in zip(made, found, strict=True)}, as_json)
        else:
            _table_console().print(render_table(overview(made, found)))


@app.command()
def purchases(
    folder: Annotated[Path, typer.Argument(help="Complete Journey's parquet files.")],
    out: Annotated[Path, typer.Option(help="File of tables to write (.npz).")],
    min_purchases: Annotated[int, typer.Option(min=1, help="Purchases an item must have.")] = 100,
    as_json: JsonFlag = False,
) -> None:
    """Turn a purchase log into the tables of the n-gram recommender's world."""
    with _refusing(as_json):
        read = read_purchases(folder, min_purchases=min_purchases)
        tables = NgramTables.from_purchases(
            read.sessions,
            read.items,
            read.prices,
            categories=read.categories,
            names=read.names,
        )
        tables.write(out)
        _say({"tables": str(out), "items": len(tables.prices)}, as_json)


@app.command()
def worlds(
    out: Annotated[Path, typer.Option(help="The page.")] = Path("worlds.html"),
    name: Annotated[list[str] | None, typer.Option(help="Only this world; repeatable.")] = None,
    recipe: Annotated[
        list[Path] | None,
        typer.Option(help="A data set whose behaviour plays in its world; repeatable."),
    ] = None,
    logs: Logs = Path("logs"),
    seed: Seed = 3,
    as_json: JsonFlag = False,
) -> None:
    """Draw every world: an episode of random actions, a behaviour, and the best policy known."""
    with _refusing(as_json):
        with _stages() as on_stage:
            made = [
                make_dataset(read_dataset(each), logs, on_stage=on_stage) for each in recipe or []
            ]
            page = draw_worlds(
                out,
                names=name,
                behaviours={each.recipe.world.name: each for each in made},
                seed=seed,
                on_step=on_stage("worlds"),
            )
        _say({"page": str(page)}, as_json)


def _world(name: str, preset: str | None, n_worlds: int = 64) -> AbstractSimulator:
    options: dict[str, Any] = {} if preset is None else {"preset": preset}
    return make(name, n_worlds, **options)


def _show_run(layout: Layout, publish_to: Path | None, as_json: bool) -> None:
    page = summarise(layout)
    if publish_to is not None:
        publish(layout, publish_to)
    table = results_table(layout)
    if not as_json:
        _table_console().print(render_table(table))
    found = {
        "folder": str(layout.folder),
        "report": str(page),
        "results": [dict(zip(table.columns, row, strict=True)) for row in table.rows],
    }
    _say(found if as_json else {"report": str(page)}, as_json)


def _table_console() -> Console:
    """Wide enough for a table where the output is a file."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=140)


def _read(log: list[str], columns: Path | None, actions: Path | None) -> Log:
    mapping = ColumnMapping()
    if columns is not None:
        content = tomllib.loads(columns.read_text(encoding="utf-8"))
        mapping = ColumnMapping.model_validate(content.get("columns", content))
    return read_log(log, columns=mapping, action_table=actions)


def _features(log: Log, fourier: list[str] | None) -> FeatureConfig:
    return FeatureConfig(fourier=fourier_columns(log.observation_names, fourier or []))


def _settings(entries: list[str] | None) -> dict[str, Any]:
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


def _say(found: Mapping[str, Any], as_json: bool) -> None:
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
def _refusing(as_json: bool) -> Iterator[None]:
    """Turns refused input into a message and exit code 2."""
    try:
        yield
    except (ValueError, ValidationError, tomllib.TOMLDecodeError, OSError) as error:
        if as_json:
            print(json.dumps({"error": str(error)}))
        else:
            print(f"refused: {error}", file=sys.stderr)
        raise typer.Exit(REFUSED) from error
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        console=console,
    )


@contextmanager
def _bar(what: str) -> Iterator[OnStep]:
    with _progress() as progress:
        task = progress.add_task(what, total=None, note="")

        def on_step(done: int, total: int, losses: Mapping[str, float]) -> None:
            progress.update(task, completed=done, total=total, note=note(losses))

        yield on_step


@contextmanager
def _stages() -> Iterator[Callable[[str], OnStep]]:
    """A bar a stage."""
    with _progress() as progress:

        def on_stage(what: str) -> OnStep:
            task = progress.add_task(what, total=None, note="")

            def on_step(done: int, total: int, losses: Mapping[str, float]) -> None:
                progress.update(task, completed=done, total=total, note=note(losses))

            return on_step

        yield on_stage


@contextmanager
def _bars() -> Iterator[Any]:
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
