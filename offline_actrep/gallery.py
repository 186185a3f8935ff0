"""Every world drawn: an episode of random actions, of a behaviour, and of the best policy known."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from offline_actrep import plots
from offline_actrep.behaviour import Expert, Noisy, make_behaviour
from offline_actrep.core.policy import AbstractBehaviour
from offline_actrep.core.progress import OnStep
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.dataset import Dataset, behaviour_of
from offline_actrep.report import FigureFile, Section, Table, write_report
from offline_actrep.rollout import play
from offline_actrep.simulators.catalog import WORLDS, env_id, make

FRAMES = 6
"""Pictures of an episode."""
LONGEST = 400
"""An episode is followed no further than this many decisions."""
NOISE = 0.5
"""Share of uniform actions in the stand-in for a behaviour."""


def draw_worlds(
    path: Path,
    *,
    names: Sequence[str] | None = None,
    behaviours: Mapping[str, Dataset] | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Path:
    """Writes one self-contained page, its pictures in a folder beside it.

    Args:
        path: of the page.
        names: worlds to draw; None for all.
        behaviours: finished data sets by world, whose behaviour plays there; elsewhere the expert
            under 50 % noise stands in.
        seed: of every episode.
        on_step: is told how many worlds are drawn.

    Raises:
        ValueError: an unknown world.
    """
    wanted = sorted(WORLDS) if names is None else list(names)
    figures = path.with_name(f"{path.stem}-figures")
    sections = []
    for place, name in enumerate(wanted, start=1):
        sections.append(_section(name, (behaviours or {}).get(name), figures, seed))
        if on_step is not None:
            on_step(place, len(wanted), {})
    return write_report(
        path,
        title="The worlds",
        subtitle=f"{len(wanted)} simulated worlds with large discrete action sets",
        sections=sections,
        provenance={"offline_actrep": version("offline_actrep"), "seed": str(seed)},
    )


def _section(name: str, made: Dataset | None, figures: Path, seed: int) -> Section:
    world = make(name, 1) if made is None else made.world(1)
    uniform = make_behaviour("uniform", world.action_set)
    if made is None:
        behaviour = f"expert with {NOISE:.0%} noise", Noisy(Expert(world), NOISE)
    else:
        behaviour = f"behaviour of {made.recipe.name}", behaviour_of(made, world)
    actors = [("random", uniform), behaviour, ("best scripted", Expert(world))]
    strips = [film(world, actor, title, seed=seed) for title, actor in actors]
    drawn = plots.save(plots.film_strips(strips), figures / f"{name}.png")
    facts = Table(
        ("actions", "observation", "horizon", "random return", "best known return", "gymnasium"),
        [
            [
                f"{len(world.action_set):,}",
                str(len(world.observation_names)),
                str(world.horizon),
                f"{world.random_return:.1f}",
                f"{world.best_return:.1f}",
                env_id(name),
            ]
        ],
    )
    return Section(
        title=name.replace("_", " "),
        text=" ".join((type(world).__doc__ or "").split("Args:")[0].split()),
        tables=(facts,),
        figures=(FigureFile(drawn, f"{name}: one episode of each, time from left to right"),),
    )


def film(
    world: AbstractSimulator, actor: AbstractBehaviour, title: str, *, seed: int
) -> plots.FilmStrip:
    """One episode of the world's first batch member, in a few pictures."""
    frames, earned = [], 0.0
    for row in play(actor, world, seed=seed):
        pictures = world.render()
        assert pictures is not None
        frames.append(pictures[0])
        earned += float(row.rewards[0])
        if row.terminated[0] or row.truncated[0] or len(frames) == LONGEST:
            break
    kept = np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(np.int64))
    return plots.FilmStrip(
        title=f"{title}: return {earned:.1f} after {len(frames)} decisions",
        frames=[frames[k] for k in kept],
        decisions=[int(k) + 1 for k in kept],
    )
