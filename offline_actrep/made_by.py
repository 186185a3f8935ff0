"""What made a policy or a trial: the code's revision, and the machine with its versions."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from offline_actrep.nets.computing import hardware

LIBRARIES = ("torch", "numpy", "d3rlpy")
"""Those whose version may change a bit of a result."""


def made_by() -> dict[str, str]:
    """Both, as they stand beside what was made."""
    return {"git_revision": git_revision(), "machine": machine()}


def git_revision() -> str:
    """Of the checkout that the package lies in, with `+` if it was changed; else "unknown"."""
    folder = Path(__file__).parent
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        return revision + ("+" if _git(folder, "status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=folder, check=True, capture_output=True, text=True, timeout=20
    )
    return done.stdout.strip()


def machine() -> str:
    """Hardware and versions in one line."""
    made_with = [f"{name} {version(name)}" for name in LIBRARIES]
    return ", ".join([hardware(), f"python {platform.python_version()}", *made_with])
