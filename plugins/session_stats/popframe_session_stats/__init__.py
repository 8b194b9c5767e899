"""A record of every session, and metrics for Prometheus.

Rule of this file: importing it imports nothing. The collector, a process of this package, must not carry the server and
its libraries; nor the server those of the collector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from popframe_session_stats.plugin import SessionStats
    from popframe_session_stats.settings import SessionStatsSettings

__all__ = ["SessionStats", "SessionStatsSettings"]


def __getattr__(name: str) -> object:
    """Import the plugin when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from popframe_session_stats import plugin

    return getattr(plugin, name)
