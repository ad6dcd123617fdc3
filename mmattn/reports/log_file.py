"""What the log file of a start tells: its times, and its warnings and errors.

The times of files are not used: they are those of the copy where a folder was copied.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from .harmless import is_harmless

_RECORD = re.compile(r"^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - (\S+) - ([A-Z]+) - (.*)$")
#: Beginning of the line that says where the report of a run lies.
PAGE_WRITTEN = "Report of this run: "
_TIME = "%Y/%m/%d %H:%M:%S"
_TOLD = ("WARNING", "ERROR", "CRITICAL")
# Lines that mmengine puts below the first one of an error: where in its code it was logged.
_PLACE = re.compile(r"^\S+\.py - \w+ - \d+ - ")


@dataclass(frozen=True)
class RunLog:
    """Times, warnings and errors of a log file.

    Attributes:
        first: Time of the first record; None without a log.
        last: Time of the last record.
        warnings: Text of each warning and error -> how often it was logged.
    """

    first: datetime | None = None
    last: datetime | None = None
    warnings: dict[str, int] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """Time from the first record to the last, to the second; None without a log."""
        if self.first is None or self.last is None:
            return None
        return (self.last - self.first).total_seconds()


def read_log(start: Path) -> RunLog:
    """Read the log of a start; warnings that no user can act on are left out.

    Args:
        start: Folder of the start, which holds ``NAME.log``.
    """
    file = start / f"{start.name}.log"
    if not file.is_file():
        logs = sorted(start.glob("*.log"))
        if not logs:
            return RunLog()
        file = logs[0]
    times: list[str] = []
    warnings: dict[str, int] = {}
    told: list[str] | None = None
    for line in file.read_text("utf-8", errors="replace").splitlines():
        record = _RECORD.match(line)
        if record is None:
            if told is not None:
                told.append(line)
            continue
        _keep(told, warnings)
        if not record[4].startswith(PAGE_WRITTEN):  # a run is over before its report is written
            times.append(record[1])
        told = [record[4]] if record[3] in _TOLD else None
    _keep(told, warnings)
    if not times:
        return RunLog(warnings=warnings)
    first, last = (datetime.strptime(text, _TIME) for text in (times[0], times[-1]))
    return RunLog(first, last, warnings)


def _keep(told: list[str] | None, warnings: dict[str, int]) -> None:
    if told is None:
        return
    text = _PLACE.sub("", "\n".join(told).strip())
    if text and not is_harmless(text):
        warnings[text] = warnings.get(text, 0) + 1
