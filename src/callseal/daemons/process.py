"""What the kernel is asked to keep for a process that holds secrets: no core dump, no tracing, no swap, no orphan; and a core.

Source: prctl(2), mlockall(2), setrlimit(2), sched_setaffinity(2), mallopt(3).
"""

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_GET_DUMPABLE = 1, 4, 3
_MCL_CURRENT, _MCL_FUTURE = 1, 2
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
LARGE_BYTES = 256 << 10

_libc = ctypes.CDLL(None, use_errno=True)


def forbid_dumps() -> None:
    """No core file, and no tracing by processes of the same user. Raises OSError where the kernel refuses."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def is_dumpable() -> bool:
    """Whether this process may leave a core file or be traced."""
    return bool(_libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0))


def lock_memory() -> bool:
    """Keep this process out of swap where the limit on locked memory lets us; returns whether it holds."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY and os.geteuid() != 0:
        return False  # a limited lock would make later allocations fail, in the middle of a call
    return bool(_libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0)


def give_large_blocks_back() -> None:
    """Blocks of `LARGE_BYTES` and more come from the system and go back to it when freed: a second of a thousand calls comes and
    goes, and leaves no holes. Does nothing with a C library that has no mallopt."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        _libc.mallopt(_M_TRIM_THRESHOLD, 4 * LARGE_BYTES)


def die_with_parent() -> None:
    """Ask for SIGTERM when the supervisor is gone, so that nothing runs unwatched."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def pin_to_core(number: int, of: int) -> int | None:
    """Keep this process, and threads that it begins later, on one core: the last `of` cores are shared out by `number` from 0.

    Returns the core; None where the process is the only one or there are fewer cores: it is left to the kernel then.
    """
    cores = sorted(os.sched_getaffinity(0))
    if of < 2 or len(cores) < of:
        return None
    core = cores[len(cores) - of + number]
    os.sched_setaffinity(0, {core})
    return core
