"""The smallest pipeline that has every part, for the tests that run one."""

from pathlib import Path

TINY = """\
name = "tiny"
title = "Tiny maze"
seeds = [0, 1]

[log.collect]
behaviour = "uniform"
rows = 400
worlds = 8

[world]
name = "maze"
settings = { actuators = 5 }

[[representations]]
name = "merlion"
method = "merlion"
settings = { steps = 20, behaviour_steps = 5, hidden = 8 }

[[learners]]
name = "on points"
method = "cql"
representation = "merlion"
settings = { steps = 20, hidden = [8] }

[[learners]]
name = "on ids"
method = "discrete_bc"
settings = { steps = 20, hidden = [8] }

[evaluate]
episodes = 4
curve_points = 2
curve_episodes = 2

[estimate]
steps = 20
refits = 2
rows = 200
"""


def write_recipe(folder: Path, *changes: tuple[str, str], text: str = TINY) -> Path:
    """The tiny recipe as a file, with pieces of its text replaced."""
    for old, new in changes:
        assert old in text, f"the tiny recipe has no {old!r}"
        text = text.replace(old, new)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "tiny.toml"
    file.write_text(text, encoding="utf-8")
    return file
