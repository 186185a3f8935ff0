"""A process that rounds alike whatever instructions a processor knows beyond AVX2.

Where networks play, a sum that is rounded otherwise in its last bit moves an action sooner or
later, and from there on the log is another one. MKL adds up in another order on processors of
another maker or with other instructions, torch, numpy and OpenBLAS in wider or narrower pieces, and
all of them on as many threads as there are cores. None of that can be changed once they compute, so
logs are made in a process of their own, which is told before it starts. MKL's own word for it is
conditional numerical reproducibility; the path that it takes for all makers is `COMPATIBLE`.

Intel's processors came out alike with AVX-512 and without; an AMD EPYC did not come out as they
did, for a reason that was not found. Another release of these libraries, or a processor that MKL
does not know (ARM), may round otherwise too. A log's fingerprint tells one from another.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection

from offline_actrep.core.progress import OnStep

ENVIRONMENT: Mapping[str, str] = {
    "MKL_CBWR": "COMPATIBLE",
    "ATEN_CPU_CAPABILITY": "avx2",
    "OPENBLAS_CORETYPE": "Haswell",
    # numpy's own names for AVX-512, since 2.4 and before
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR AVX512F AVX512_SKX",
    "OMP_NUM_THREADS": "1",
}
"""What the libraries read before their first product."""

OnStage = Callable[[str], OnStep]
"""Gives the progress of a stage its own bar."""


def portably(work: Callable[[OnStage], None], on_stage: OnStage) -> None:
    """Does a work that leaves files and no more, in a process that rounds alike.

    Args:
        work: told where to tell its progress. It goes to another process, so that it must be
            picklable: a function of a module, or a `functools.partial` of one.
        on_stage: where that progress is told here.

    Raises:
        ChildProcessError: the process died, most often because memory ran out.
        Exception: whatever the work raised.
    """
    context = multiprocessing.get_context("spawn")
    hearing, telling = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(telling, work), daemon=True)
    with _told_to_the_next_process(ENVIRONMENT):
        process.start()
    telling.close()
    try:
        _hear(hearing, on_stage)
    except EOFError:
        process.join()
        code = process.exitcode or 0
        why = (
            "most often because memory ran out: give it more"
            if code < 0
            else "what it said stands above; a script that makes logs needs a main guard: mend it"
        )
        raise ChildProcessError(
            f"the process that makes a log died (exit status {code}), {why} and run the same "
            "command again; what is finished is kept"
        ) from None
    finally:
        process.terminate()
        process.join()


def _hear(hearing: Connection, on_stage: OnStage) -> None:
    """Until the work is done; progress goes to the bar of its stage."""
    bars = dict[str, OnStep]()
    while True:
        match hearing.recv():
            case "stage", name:
                bars[name] = on_stage(name)
            case "step", name, done, steps, losses:
                bars[name](done, steps, losses)
            case "failed", error:
                raise error
            case _:
                return


def _work(telling: Connection, work: Callable[[OnStage], None]) -> None:
    def on_stage(name: str) -> OnStep:
        telling.send(("stage", name))
        return lambda done, steps, losses: telling.send(("step", name, done, steps, dict(losses)))

    try:
        work(on_stage)
    except Exception as error:
        telling.send(("failed", error))
    else:
        telling.send(("done",))


@contextmanager
def _told_to_the_next_process(told: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
