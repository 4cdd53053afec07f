"""Landlock: after this call the thread, and all it starts, reach only the named folders and no foreign process.

Source: Linux `Documentation/userspace-api/landlock.rst`. Where the kernel has no Landlock, `restrict` returns 0 and the
caller says so (`callseal doctor`, the health page); it never pretends.
Invariants: called before any thread is started; rules only ever take rights away.
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH, _RULE_NET_PORT = 1, 2
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE = sum(1 << bit for bit in range(6, 13))
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1, 2

_READ = _EXECUTE | _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE | _REFER | _TRUNCATE
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    _fields_ = (("access", ctypes.c_uint64), ("port", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """The kernel's Landlock ABI, 0 where it has none or has it switched off."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))))


def restrict(
    read: Iterable[Path], write: Iterable[Path], *, listen: bool = False, connect: bool = False, connect_port: int = 0
) -> int:
    """Shut this thread in: `read` and `write` are folders or files that exist; `listen` and `connect` allow TCP, `connect_port`
    connections to that port alone.

    Returns the ABI that now holds (0: none). Raises OSError where a path is missing or the kernel refuses: fail closed.
    """
    version = landlock_version()
    if version == 0:
        return 0
    known = _WRITE | _IOCTL_DEV
    if version < 2:
        known &= ~_REFER
    if version < 3:
        known &= ~_TRUNCATE
    if version < 5:
        known &= ~_IOCTL_DEV
    net = (0 if listen else _BIND_TCP) | (0 if connect else _CONNECT_TCP) if version >= 4 else 0
    scoped = (_SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL) if version >= 6 else 0
    ruleset = _Ruleset(known, net, scoped)
    handle = _checked(_libc.syscall(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(ctypes.sizeof(ruleset)), 0))
    try:
        for path in read:
            _allow(handle, path, _READ & known)
        for path in write:
            _allow(handle, path, _WRITE & known)
        if connect_port and net & _CONNECT_TCP:
            port = _NetPort(_CONNECT_TCP, connect_port)
            _checked(_libc.syscall(_ADD_RULE, handle, _RULE_NET_PORT, ctypes.byref(port), 0))
        _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_libc.syscall(_RESTRICT_SELF, handle, 0))
    finally:
        os.close(handle)
    return version


def _allow(handle: int, path: Path, access: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not path.is_dir():
            access &= _FILE_RIGHTS
        rule = _PathBeneath(access, parent)
        _checked(_libc.syscall(_ADD_RULE, handle, _RULE_PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(parent)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "landlock")
    return result
