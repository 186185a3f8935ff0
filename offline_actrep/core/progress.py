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
