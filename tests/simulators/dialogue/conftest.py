"""What the dialogue tests share: the town that is made up, and MultiWOZ's own where it lies."""

import os
from pathlib import Path

import pytest

from offline_actrep.simulators.dialogue.corpus import Corpus, invented_corpus, read_corpus

REAL_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
TRACES = Path(os.environ.get("OFFLINE_ACTREP_CONVLAB_TRACES", REAL_DATA / "convlab_traces.json"))


@pytest.fixture(scope="session")
def town() -> Corpus:
    return invented_corpus(0)


@pytest.fixture(scope="session")
def real_folder() -> Path:
    if not (REAL_DATA / "multiwoz_goal_model.json").is_file():
        pytest.skip(f"MultiWOZ's tables are not in {REAL_DATA}")
    return REAL_DATA


@pytest.fixture(scope="session")
def real(real_folder: Path) -> Corpus:
    return read_corpus(real_folder)


@pytest.fixture(scope="session")
def traces_file() -> Path:
    if not TRACES.is_file():
        pytest.skip(f"recorded dialogues are not at {TRACES}")
    return TRACES
