"""The one place where torch's global generator is touched, and put back."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Global generators (torch, numpy, random) start from `seed` inside; the caller's come back.

    For code that draws from them and cannot be told otherwise: initialisers, d3rlpy.
    """
    numpy_state = np.random.get_state()
    python_state = random.getstate()
    np.random.seed(seed % 2**32)
    random.seed(seed)
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(gpus):
            torch.manual_seed(seed)
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
