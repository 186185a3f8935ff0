"""The command line: parse, load, call one function, save, print the path.

Commands on logs are in `cli_logs.py`, those on worlds in `cli_worlds.py`; how they talk, and what
their exit codes say, in `console.py`.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer

from offline_actrep import cli_bench, cli_logs, cli_worlds
from offline_actrep.console import (
    Actions,
    Columns,
    Fourier,
    JsonFlag,
    LogFiles,
    Preset,
    Publish,
    Seed,
    Settings,
    bar,
    bars,
    features_of,
    log_of,
    parsed,
    refusing,
    say,
    table_console,
    world_of,
)
from offline_actrep.core.log import Log
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.describe import described, names
from offline_actrep.evaluate import estimate as estimate_policy
from offline_actrep.evaluate import evaluate as evaluate_policy
from offline_actrep.files.artifact import may_become
from offline_actrep.nets.features import FeatureConfig, fourier_columns
from offline_actrep.offline.learner import CONTINUOUS, DISCRETE
from offline_actrep.offline.train import train as train_learner
from offline_actrep.online.learners import IDS
from offline_actrep.online.train import train_online
from offline_actrep.recipe import read_recipe
from offline_actrep.relabel import Relabelled
from offline_actrep.relabel import relabel as relabel_log
from offline_actrep.report import Table, render_table
from offline_actrep.representations.catalog import METHODS
from offline_actrep.representations.catalog import fit as fit_representation
from offline_actrep.representations.external import external_points
from offline_actrep.representations.probe import probe as probe_points
from offline_actrep.run import Layout
from offline_actrep.run import run as run_recipe
from offline_actrep.saved import load_policy, load_representation, save_policy, save_representation
from offline_actrep.summary import probe_table, publish, results_table, summarise

app = typer.Typer(
    help="Offline reinforcement learning when the actions are thousands of discrete things.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="The pipeline's TOML.")],
    out: Annotated[Path, typer.Option(help="The run's folder is made in here.")] = Path("runs"),
    workers: Annotated[int, typer.Option(min=1, help="Processes side by side.")] = 2,
    publish_to: Publish = None,
    as_json: JsonFlag = False,
) -> None:
    """Run every stage of a pipeline; finished ones are skipped."""
    with refusing(as_json):
        read = read_recipe(recipe)
        with bars() as tell:
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
    with refusing(as_json):
        read = read_recipe(recipe)
        _show_run(Layout(read, out / read.name), publish_to, as_json)


@app.command()
def fit(
    log: LogFiles,
    out: Annotated[Path, typer.Option(help="Folder for the representation.")],
    method: Annotated[str, typer.Option(help=f"One of {', '.join(METHODS)}.")] = "merlion",
    seed: Seed = 0,
    columns: Columns = None,
    actions: Actions = None,
    fourier: Fourier = None,
    settings: Settings = None,
    as_json: JsonFlag = False,
) -> None:
    """Fit a representation: a point for every action in every state."""
    with refusing(as_json):
        may_become(out, "representation")
        read = log_of(log, columns, actions)
        with bar(f"fit {method}") as on_step:
            made = fit_representation(
                method,
                read,
                seed=seed,
                features=features_of(read, fourier),
                on_step=on_step,
                **parsed(settings),
            )
        save_representation(made, out, {"log": read.fingerprint, "seed": seed})
        say(
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
    with refusing(as_json):
        read, truth = log_of(log, columns, actions), None
        if world is not None:
            known = world_of(world, preset, 1)
            _refuse_another_world(read, known, world)
            truth = known.effects
        made = load_representation(points)
        found = probe_points(read, made, seed=seed, effects=truth).as_dict()
        if as_json:
            say(found, as_json)
        else:
            entry = {"representation": points.name, "seed": seed, **found}
            table_console().print(render_table(probe_table([entry])))


def _refuse_another_world(log: Log, world: AbstractSimulator, name: str) -> None:
    """The effects of another world's actions would look like numbers of this log."""
    log.action_set.must_equal(world.action_set, "the log", f"the world {name}")
    logged, seen = len(log.observation_names), len(world.observation_names)
    if logged != seen:
        raise ValueError(
            f"the log's observations have {logged} columns, those of the world {name} {seen}: take "
            "the world, and the preset, that the log comes from"
        )


@app.command()
def train(
    log: LogFiles,
    out: Annotated[Path, typer.Option(help="Folder for the policy.")],
    method: Annotated[
        str,
        typer.Option(help=f"On points: {', '.join(CONTINUOUS)}; on ids: {', '.join(DISCRETE)}."),
    ] = "cql",
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
    """Train a policy on a log, on points or on ids."""
    with refusing(as_json):
        may_become(out, "policy")
        read = log_of(log, columns, actions)
        data: Log | Relabelled = read
        if points is not None:
            data = relabel_log(read, load_representation(points))
        with bar(f"train {method}") as on_step:
            policy = train_learner(
                data,
                method,
                seed=seed,
                features=features_of(read, fourier),
                on_step=on_step,
                **parsed(settings),
            )
        save_policy(policy, out, {"log": read.fingerprint, "seed": seed})
        say({"policy": str(out), "method": method}, as_json)


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
    with refusing(as_json):
        may_become(out, "policy")
        played = world_of(world, preset)
        names = played.observation_names
        made = None
        if points is not None:
            made = load_representation(points)
        elif method not in IDS:
            made = external_points(played.action_set, observation_size=len(names))
        with bar(f"train {method}") as on_step:
            policy = train_online(
                played,
                method,
                made,
                steps=steps,
                seed=seed,
                features=FeatureConfig(fourier=fourier_columns(names, tuple(fourier or ()))),
                on_step=on_step,
                **parsed(settings),
            )
        save_policy(policy, out, {"world": world, "seed": seed})
        say({"policy": str(out), "method": method, "steps": steps}, as_json)


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
    with refusing(as_json):
        found = evaluate_policy(
            load_policy(policy), world_of(world, preset), episodes=episodes, seed=seed
        )
        say(found.as_dict(), as_json)


@app.command()
def settings(
    name: Annotated[
        str | None, typer.Argument(help="What they are of; without it all names are listed.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """What can be set in a representation, a learner, an estimator or a TOML file."""
    with refusing(as_json):
        if name is None:
            say({kind: ", ".join(each) for kind, each in names().items()}, as_json)
            return
        tables = described(name)
        if as_json:
            say({each.caption.partition(":")[0]: _entries(each) for each in tables}, as_json)
            return
        for each in tables:
            table_console().print(render_table(each))


def _entries(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


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
    with refusing(as_json), bar(name) as on_step:
        found = estimate_policy(
            load_policy(policy),
            log_of(log, columns, actions),
            name,
            seed=seed,
            on_step=on_step,
            **parsed(settings),
        )
    say(found.as_dict(), as_json)


def _show_run(layout: Layout, publish_to: Path | None, as_json: bool) -> None:
    page = summarise(layout)
    if publish_to is not None:
        publish(layout, publish_to)
    table = results_table(layout)
    if not as_json:
        table_console().print(render_table(table))
    found = {
        "folder": str(layout.folder),
        "report": str(page),
        "results": [dict(zip(table.columns, row, strict=True)) for row in table.rows],
    }
    say(found if as_json else {"report": str(page)}, as_json)


app.add_typer(cli_logs.app)
app.add_typer(cli_worlds.app)
app.add_typer(cli_bench.app)


def main() -> None:
    """The program; small networks on few cores are fastest with one thread."""
    torch.set_num_threads(1)
    app()
