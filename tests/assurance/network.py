"""A loopback of one's own: network_namespaces(7)."""

import ctypes
import subprocess

CLONE_NEWNET = 0x40000000


def own_network() -> None:
    """Give this process a loopback of its own (root), so that shards never take each other's ports between kill and restart."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare: shards need root")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
