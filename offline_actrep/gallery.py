"""Every world drawn: an episode of random actions, of a behaviour, and of the best policy known."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

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
WORDY = {"dialogue": 3}
"""Pictures of an episode in worlds that show text, which must be large enough to read."""
TRAIL = np.array([70, 110, 220], np.uint8)
"""Colour of the way so far, in worlds that show a place in the unit square."""
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
    world = make(name, 1) if made is None else made.recipe.world.make(1)
    uniform = make_behaviour("uniform", world.action_set)
    if made is None:
        behaviour = f"expert with {NOISE:.0%} noise", Noisy(Expert(world), NOISE)
    else:
        behaviour = f"behaviour of {made.recipe.name}", behaviour_of(made, world)
    actors = [("random", uniform), behaviour, ("best scripted", Expert(world))]
    count = WORDY.get(name, FRAMES)
    strips = [film(world, actor, title, seed=seed, count=count) for title, actor in actors]
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
    world: AbstractSimulator,
    actor: AbstractBehaviour,
    title: str,
    *,
    seed: int,
    count: int = FRAMES,
) -> plots.FilmStrip:
    """One episode of the world's first batch member, in at most `count` pictures.

    Where the first two observations are `x` and `y`, the way so far is drawn in.
    """
    frames, way, earned = [], [], 0.0
    for row in play(actor, world, seed=seed):
        pictures = world.render()
        assert pictures is not None
        way += [row.observations[0, :2], row.next_observations[0, :2]]
        placed = world.observation_names[:2] == ("x", "y")
        frames.append(_with_trail(pictures[0], np.array(way)) if placed else pictures[0])
        earned += float(row.rewards[0])
        if row.terminated[0] or row.truncated[0] or len(frames) == LONGEST:
            break
    kept = np.unique(np.linspace(0, len(frames) - 1, count).round().astype(np.int64))
    return plots.FilmStrip(
        title=f"{title}: return {earned:.1f} after {len(frames)} "
        f"decision{'s' * (len(frames) != 1)}",
        frames=[frames[k] for k in kept],
        decisions=[int(k) + 1 for k in kept],
    )


def _with_trail(
    picture: UInt8[np.ndarray, "H W 3"], way: Float32[np.ndarray, "T 2"]
) -> UInt8[np.ndarray, "H W 3"]:
    """The picture with straight lines between the places (x, y) of the unit square, y upwards."""
    height, width = picture.shape[:2]
    parts = np.linspace(0, 1, max(height, width), endpoint=False)[:, None, None]
    along = (way[:-1] + parts * (way[1:] - way[:-1])).reshape(-1, 2)
    columns = np.clip((along[:, 0] * width).astype(np.int64), 0, width - 1)
    rows = np.clip(((1 - along[:, 1]) * height).astype(np.int64), 0, height - 1)
    drawn = picture.copy()
    drawn[rows, columns] = TRAIL
    return drawn
