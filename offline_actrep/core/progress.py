"""How long work tells where it stands: a function that the caller may hand in."""

from collections.abc import Callable, Mapping

OnStep = Callable[[int, int, Mapping[str, float]], None]
"""Called now and then with (steps done, steps in all, the losses of the last step)."""

STRIDE = 50
"""Steps between two calls."""


def tell(on_step: OnStep | None, step: int, steps: int, losses: Mapping[str, float]) -> None:
    """Calls it when it is due: every `STRIDE` steps and after the last."""
    if on_step is not None and (step % STRIDE == 0 or step == steps):
        on_step(step, steps, losses)


def note(losses: Mapping[str, float]) -> str:
    """The first three losses, for the end of a progress bar."""
    return " ".join(f"{name} {value:.3g}" for name, value in list(losses.items())[:3])
