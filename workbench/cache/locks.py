"""Locks between processes, by `flock`: the kernel lets go of what a killed process held.

No file is made only to be locked. A harvest's folder is locked by those who use it, a shard's
unfinished file by the one who writes it.
"""

import errno
import fcntl
import os
from pathlib import Path
from weakref import finalize

from workbench.errors import InputError


class Lock:
    """A held lock; released by `release`, at the end of a `with`, or when forgotten.

    It belongs to this value, not to the process: two of one process exclude each other too.
    """

    def __init__(self, descriptor: int) -> None:
        self.release = finalize(self, os.close, descriptor)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lock_folder(folder: Path, *, shared: bool, wait: bool = True) -> Lock | None:
    """Lock a folder; None if it is held otherwise and not to be waited for.

    Raises `FileNotFoundError` where it does not exist, or was moved away while waiting.
    """
    return _lock(folder, os.O_RDONLY | os.O_DIRECTORY, shared=shared, wait=wait)


def lock_file(path: Path, *, wait: bool = True) -> Lock | None:
    """Lock a file for oneself, made where it lacks; None if held and not to be waited for.

    Its holder may rename or delete it: whoever waited then locks its successor.
    """
    while True:
        try:
            return _lock(path, os.O_RDWR | os.O_CREAT, shared=False, wait=wait)
        except FileNotFoundError:
            if not path.parent.is_dir():
                raise


def _lock(path: Path, flags: int, *, shared: bool, wait: bool) -> Lock | None:
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
    held = Lock(descriptor)
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        held.release()
        return None
    except OSError as error:
        held.release()
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EBADF):
            raise
        raise InputError(
            f"the disk of {path} knows no locks ({error.strerror}); "
            "give a folder on a local disk with --store"
        ) from error
    if not os.path.samestat(os.fstat(descriptor), path.stat()):
        held.release()
        raise FileNotFoundError(path)  # renamed or deleted before it was locked
    return held
