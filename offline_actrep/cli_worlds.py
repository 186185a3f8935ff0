"""Commands on simulated worlds and the logs that are made from them."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from offline_actrep.behaviour import collect as collect_log
from offline_actrep.behaviour import make_behaviour
from offline_actrep.card import coverage, headroom, write_card
from offline_actrep.console import (
    JsonFlag,
    Logs,
    Preset,
    Recipes,
    Seed,
    bar,
    refusing,
    say,
    stages,
    table_console,
    world_of,
)
from offline_actrep.dataset import (
    ANOTHER_LOG,
    is_another,
    make_dataset,
    measure,
    overview,
    read_dataset,
)
from offline_actrep.dataset import publish as publish_datasets
from offline_actrep.files.exchange.ngram_purchases import read_purchases
from offline_actrep.files.parquet import write_action_table, write_log
from offline_actrep.gallery import draw_worlds
from offline_actrep.report import render_table
from offline_actrep.simulators.ngram_tables import NgramTables

app = typer.Typer()


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
    with refusing(as_json):
        worlds = world_of(world, preset)
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
            with bar("headroom") as on_step:
                measured = headroom(log, worlds, seed=seed, on_step=on_step)
            made_by = (
                f"collect {world}{'' if preset is None else f' --preset {preset}'} "
                f"--behaviour {behaviour} --rows {rows} --seed {seed}"
            )
            write_card(card, log, measured, coverage(log), made_by=made_by)
            found |= {"card": str(card), "headroom": measured.as_dict()}
        say(found, as_json)


@app.command()
def dataset(
    recipes: Recipes,
    out: Logs = Path("logs"),
    as_json: JsonFlag = False,
) -> None:
    """Make logs from nothing: train what plays, play, write; finished parts are skipped."""
    with refusing(as_json):
        read = [read_dataset(recipe) for recipe in recipes]
        with stages() as on_stage:
            made = [make_dataset(recipe, out, on_stage=on_stage) for recipe in read]
        for recipe, each in zip(recipes, made, strict=True):
            if is_another(each, recipe):
                print(f"{each.recipe.name}: {ANOTHER_LOG}", file=sys.stderr)
        say({each.recipe.name: str(each.log / "log.parquet") for each in made}, as_json)


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
    with refusing(as_json):
        read = [read_dataset(recipe) for recipe in recipes]
        with stages() as on_stage:
            made = [make_dataset(recipe, out, on_stage=on_stage) for recipe in read]
            found = [
                measure(each, episodes=episodes, on_step=on_stage(f"{each.recipe.name}: headroom"))
                for each in made
            ]
        if publish_to is not None:
            publish_datasets(recipes, made, found, publish_to)
        named = {each.recipe.name: row for each, row in zip(made, found, strict=True)}
        if as_json:
            say(named, as_json)
        else:
            table_console().print(render_table(overview(named)))


@app.command()
def purchases(
    folder: Annotated[Path, typer.Argument(help="Complete Journey's parquet files.")],
    out: Annotated[Path, typer.Option(help="File of tables to write (.npz).")],
    min_purchases: Annotated[int, typer.Option(min=1, help="Purchases an item must have.")] = 100,
    as_json: JsonFlag = False,
) -> None:
    """Turn a purchase log into the tables of the n-gram recommender's world."""
    with refusing(as_json):
        read = read_purchases(folder, min_purchases=min_purchases)
        tables = NgramTables.from_purchases(
            read.sessions,
            read.items,
            read.prices,
            categories=read.categories,
            names=read.names,
        )
        tables.write(out)
        say({"tables": str(out), "items": len(tables.prices)}, as_json)


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
    with refusing(as_json):
        with stages() as on_stage:
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
        say({"page": str(page)}, as_json)
