"""The page that shows every world."""

from pathlib import Path

import numpy as np
import pytest

from offline_actrep.behaviour import Expert, Uniform
from offline_actrep.gallery import FRAMES, TRAIL, draw_worlds, film
from offline_actrep.simulators.maze import Maze


def test_a_film_shows_the_first_and_the_last_decision_of_one_episode() -> None:
    world = Maze(1)
    strip = film(world, Expert(world), "expert", seed=0)
    assert strip.title.startswith("expert: return 110.0 after ")
    length = int(strip.title.split(" after ")[1].split()[0])
    assert (strip.decisions[0], strip.decisions[-1]) == (1, length)
    assert len(strip.frames) == len(strip.decisions) == FRAMES
    assert np.abs(strip.frames[0].astype(int) - strip.frames[-1]).max() > 0


def test_an_episode_shorter_than_the_film_is_shown_whole() -> None:
    world = Maze(1, preset="plans")
    strip = film(world, Expert(world), "expert", seed=0)
    length = int(strip.title.split(" after ")[1].split()[0])
    assert list(strip.decisions) == sorted(set(strip.decisions))
    assert len(strip.frames) == min(FRAMES, length)


def test_the_way_so_far_is_drawn_in() -> None:
    world = Maze(1)
    strip = film(world, Expert(world), "expert", seed=0)
    drawn = [(frame == TRAIL).all(axis=2).sum() for frame in strip.frames]
    assert 0 < drawn[0] < drawn[2] < drawn[-1]
    around_the_start = strip.frames[-1][178:182, 49:52]
    assert (around_the_start == TRAIL).all(axis=2).any()


def test_the_return_is_that_of_the_episode() -> None:
    world = Maze(1)
    uniform = film(world, Uniform(world.action_set), "random", seed=3)
    assert " after 60 decisions" in uniform.title or "return 1" in uniform.title


def test_the_page_shows_the_worlds_asked_for(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    page = draw_worlds(
        tmp_path / "worlds.html",
        names=["maze"],
        on_step=lambda done, total, _: told.append((done, total)),
    )
    text = page.read_text(encoding="utf-8")
    assert "offline_actrep/Maze-v0" in text and "4,096" in text
    assert text.count("data:image/png;base64,") == 1
    assert (tmp_path / "worlds-figures" / "maze.png").is_file()
    assert told == [(1, 1)]


def test_an_unknown_world_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown world 'labyrinth'"):
        draw_worlds(tmp_path / "worlds.html", names=["labyrinth"])
    assert not (tmp_path / "worlds.html").exists()
