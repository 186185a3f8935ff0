"""Dialogues as pictures: the last turns as text."""

import textwrap

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from offline_actrep.simulators.dialogue.conversation import Conversation

WIDTH, HEIGHT = 400, 300
LINE = 14
"""Height of a line, in pixels."""
COLUMNS = 62
"""Letters of a line."""
LAST_TURNS = 12
PAPER, HEADING = (255, 255, 255), (90, 90, 90)
INK = {"user": (30, 80, 180), "system": (20, 120, 60)}


def picture(talk: Conversation) -> UInt8[np.ndarray, "300 400 3"]:
    """The goal's domains, then the last turns that fit, the newest at the bottom."""
    lines: list[tuple[str, tuple[int, int, int]]] = []
    for speaker, act in talk.spoken[-LAST_TURNS:]:
        acts = "; ".join(
            f"{name} {', '.join(f'{slot}={value}' for slot, value in pairs)}".strip()
            for name, pairs in act.items()
        )
        wrapped = textwrap.wrap(f"{speaker}: {acts}", COLUMNS, subsequent_indent="    ")
        lines += [(line, INK[speaker]) for line in wrapped]
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    heading = f"turn {len(talk.spoken) // 2}   wanted: {', '.join(talk.user.goal)}"
    draw.text((6, 4), heading, HEADING, font)
    for row, (line, ink) in enumerate(lines[-((HEIGHT - 8) // LINE - 1) :], start=1):
        draw.text((6, 4 + row * LINE), line, ink, font)
    return np.asarray(image).copy()
