"""Telling systemd how the service is (sd_notify(3)): one datagram, so no library is worth its import."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send a state, such as ``READY=1``, to the service manager that asked for it; without one do nothing."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
        try:
            notifier.sendto(state.encode(), address)
        except OSError:
            return  # the service manager is gone; nothing depends on it
