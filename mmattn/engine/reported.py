"""A run that leaves its report behind, also where it is interrupted or fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.errors import ConfigError
from mmattn.io import atomic_write
from mmattn.reports.run import COMMAND_FILE

from .distributed import launched_rank

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

    from mmattn.preflight.data import DatasetReport

    Inspect = Callable[[Sequence[DatasetReport]], None]


class RunReport:
    """The steps of a command that write the report of its run.

    Args:
        cfg: Config of the run; ``run_report=False`` switches the report off.
        inspect: Called with what the checks found of the datasets, before it is kept.

    Raises:
        ConfigError: ``run_report`` is neither True nor False.
    """

    def __init__(self, cfg: Config, inspect: Inspect) -> None:
        self._wanted = cfg.get("run_report", True)
        if not isinstance(self._wanted, bool):
            raise ConfigError(
                f"{cfg.filename}: run_report={self._wanted!r} must be True or False. Other "
                "settings are those of the hook: custom_hooks=[dict(type='mmattn.RunReportHook', "
                "images=16)]"
            )
        self._inspect = inspect
        self._data: Sequence[DatasetReport] = ()

    def inspect(self, reports: Sequence[DatasetReport]) -> None:
        """Keep what the checks found; an argument of ``build_runner``."""
        self._inspect(reports)
        self._data = tuple(reports)

    @contextmanager
    def of(self, runner: Runner) -> Iterator[None]:
        """Add the hook to a runner, and see that the page is written however the run ends."""
        from .hooks.run_report import RunReportHook

        hook = next((one for one in runner.hooks if isinstance(one, RunReportHook)), None)
        if hook is None and self._wanted:
            hook = RunReportHook()
            runner.register_hook(hook)
        if hook is None:
            yield
            return
        hook.data = self._data
        try:
            yield
        except BaseException as error:
            hook.finish(runner, error)
            raise


def keep_command(runner: Runner, command: str, launcher: str) -> None:
    """Write the command line that was typed beside the log, in the first process."""
    if command and launched_rank(launcher) == 0:
        with atomic_write(Path(runner.log_dir) / COMMAND_FILE, "w") as file:
            file.write(command + "\n")
