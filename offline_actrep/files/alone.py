"""A folder that one process at a time writes."""

import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl


def hold(folder: Path) -> int:
    """Locks a folder against other processes until the handle that this returns is closed.

    A process that is killed lets go. Windows has no such lock, and nothing is held there.

    Raises:
        ValueError: another process has it.
    """
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    if sys.platform == "win32":
        return handle
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        os.close(handle)
        raise ValueError(
            f"{folder}: expected to be alone, but another program is writing there. To mend it: "
            "wait for it or end it, and run the same command again."
        ) from error
    return handle
