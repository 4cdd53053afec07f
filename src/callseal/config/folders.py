"""What the data folder itself says of who shares what: one user for all daemons, or a user each (deploy/systemd).

A folder with the setgid bit is shared with its group: what is made in it, its group may read, and others never. Without the bit
everything is its owner's alone. So no setting can open what the folders do not (docs/architecture.md, "Users and groups").
"""

import os
import socket
import stat
import struct
from pathlib import Path


def is_shared(folder: Path) -> bool:
    """Whether a folder is shared with its group. False where it is missing."""
    try:
        return bool(folder.stat().st_mode & stat.S_ISGID)
    except OSError:
        return False


def file_mode(folder: Path) -> int:
    """The mode of a file made in a folder: 0600, or 0640 where it is shared."""
    return 0o640 if is_shared(folder) else 0o600


def folder_mode(parent: Path) -> int:
    """The mode of a folder made in a folder: 0700, or 0750 where it is shared (the kernel hands the setgid bit on)."""
    return 0o750 if is_shared(parent) else 0o700


def joint_mode(folder: Path) -> int:
    """The mode of a socket, or of the database, in a folder: 0600, or 0660 where the folder's group may write."""
    return 0o660 if is_shared(folder) and folder.stat().st_mode & stat.S_IWGRP else 0o600


def peer_user(connection: socket.socket) -> int:
    """Who stands at the other end of a Unix socket: its user id, by SO_PEERCRED (unix(7))."""
    credentials = struct.Struct("3i")
    return int(credentials.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size))[1])


def users_of(*folders: Path) -> frozenset[int]:
    """Who may stand at the other end of a socket: we ourselves, root, and the owners of these folders (where they exist)."""
    return frozenset((os.getuid(), 0, *(folder.stat().st_uid for folder in folders if folder.is_dir())))
