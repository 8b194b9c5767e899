"""The plugin: writes a line for each session, and tells the collector what happens."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from popframe import ConfigError, Host, LoginFailure, SessionSummary, hookimpl
from popframe_session_stats.collector_process import CollectorProcess
from popframe_session_stats.record import RENDERINGS, with_head
from popframe_session_stats.record_file import RecordFile
from popframe_session_stats.reporter import Reporter
from popframe_session_stats.settings import SessionStatsSettings

__all__ = ["SessionStats", "SessionStatsSettings"]

_logger = logging.getLogger("popframe.session_stats")


@dataclass(frozen=True, slots=True)
class StartedCollector:
    """What is there before root is given up.

    Attributes:
        process: The collector; None where there is none.
    """

    process: CollectorProcess | None

    def look_after(self) -> float | None:
        """Start another collector if it has ended."""
        return None if self.process is None else self.process.look_after()

    def close(self) -> None:
        """End the collector."""
        if self.process is not None:
            self.process.close()


class SessionStats:
    """Records every session, and counts them for Prometheus."""

    Settings = SessionStatsSettings

    @classmethod
    def before_run_as(cls, settings: SessionStatsSettings, host: Host) -> StartedCollector:
        """Start the collector, where there are many sessions to count.

        Raises:
            ConfigError: It cannot be started, or cannot listen where it should.
        """
        if not host.is_server or not settings.listen:
            return StartedCollector(None)
        return StartedCollector(CollectorProcess(settings.listen, host.run_as))

    def __init__(self, settings: SessionStatsSettings, collector: StartedCollector) -> None:
        self._rendered = RENDERINGS[settings.record]
        self._has_own_head = settings.record == "json"
        self._file = None if settings.file is None else RecordFile(settings.file)
        self._reporter = None if collector.process is None else Reporter(collector.process.events)
        if settings.file is not None and not settings.file.parent.is_dir():
            raise ConfigError(f"file: there is no folder {settings.file.parent}")

    @hookimpl
    def popframe_session_started(self) -> None:
        """Count it among those that are connected."""
        if self._reporter is not None:
            self._reporter.session_started()

    @hookimpl
    def popframe_login_succeeded(self) -> None:
        """Count it."""
        if self._reporter is not None:
            self._reporter.login_succeeded()

    @hookimpl
    def popframe_login_failed(self, failure: LoginFailure) -> None:
        """Count it."""
        if self._reporter is not None:
            self._reporter.login_failed(failure.code)

    @hookimpl
    def popframe_session_ended(self, summary: SessionSummary) -> None:
        """Count it, and write its line."""
        if self._reporter is not None:
            self._reporter.session_ended(summary)
        line = self._rendered(summary)
        if line is None:
            return
        if self._file is None:
            _logger.info("%s", line)
        else:
            self._file.append(line if self._has_own_head else with_head(line))
