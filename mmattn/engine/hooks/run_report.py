"""Leave a page behind: report.html about a training or a test, however it ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.dist import is_main_process, master_only
from mmengine.hooks import Hook

from mmattn.engine.run_facts import operations, peak_memory_mib, run_facts
from mmattn.engine.training_images import training_images
from mmattn.errors import ConfigError
from mmattn.registry import HOOKS
from mmattn.reports.batch_sheet import TrainingImage, draw_batches
from mmattn.reports.log_file import PAGE_WRITTEN
from mmattn.reports.overlays import save_image
from mmattn.reports.runs.facts import BATCHES, FOLDER, PAGE, write_facts
from mmattn.reports.runs.left import read_start, read_training
from mmattn.reports.runs.test import write_test_report
from mmattn.reports.runs.training import write_training_report

if TYPE_CHECKING:
    from mmengine.runner import Runner

    from mmattn.preflight.data import DatasetReport

#: Steps whose batches are looked at until there are enough images.
_STEPS = 8


@HOOKS.register_module()
class RunReportHook(Hook):
    """Write ``report.html`` of the run, from what its other hooks and its log have left.

    Before the first step it keeps what only the run knows in ``report/facts.json`` of the start's
    folder, and the first training images, augmented, in ``report/batches.jpg``. The page of a
    training lies in the folder of the run, that of a test in the folder of the test. Whatever goes
    wrong with it is logged, and ends no run.

    Args:
        images: Number of training images to show, 0 for none.
        flops: Whether to count the operations of one validation image, which is tested for it, at
            the end of a training that was not stopped.

    Attributes:
        data: What the checks found of the datasets; set by ``mmattn train``.

    Raises:
        ConfigError: ``images`` is not a whole number, 0 or more.
    """

    priority = "VERY_LOW"  # when results, plots and curves are written

    def __init__(self, images: int = 8, flops: bool = True) -> None:
        if isinstance(images, bool) or not isinstance(images, int) or images < 0:
            raise ConfigError(
                f"RunReportHook: images={images!r} must be a whole number, 0 or more."
            )
        self.images = images
        self.flops = flops
        self.data: Sequence[DatasetReport] = ()
        self._facts: dict[str, Any] = {}
        self._seen: list[TrainingImage] = []
        self._steps = 0

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Keep what is known before the first step."""
        self._steps = _STEPS if self.images else 0
        self._begin(runner, "train")

    @master_only
    def before_test(self, runner: Runner) -> None:
        """Keep what is known before the first image."""
        self._begin(runner, "test")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Keep the first training images."""
        if not self._steps or not is_main_process():
            return
        self._steps -= 1
        try:
            meta = getattr(runner.train_dataloader.dataset, "metainfo", None) or {}
            classes = tuple(map(str, meta.get("classes") or ()))
            left = self.images - len(self._seen)
            self._seen += training_images(data_batch, len(classes), left)
            last = not self._steps or runner.iter + 1 >= runner.max_iters
            if len(self._seen) >= self.images or (last and self._seen):
                self._steps = 0
                sheet = draw_batches(self._seen, classes, meta.get("palette"))
                save_image(sheet, _start(runner) / FOLDER / BATCHES, jpeg_quality=85)
                self._seen = []
        except Exception as error:  # data of somebody else's may have any form
            self._steps, self._seen = 0, []
            _tell(runner, "The training images could not be drawn for the report", error)

    def after_train(self, runner: Runner) -> None:
        """Write the page of a training that has reached its end."""
        self.finish(runner)

    def after_test(self, runner: Runner) -> None:
        """Write the page of a test that has reached its end."""
        self.finish(runner)

    @master_only
    def finish(self, runner: Runner, error: BaseException | None = None) -> None:
        """Write the page, in the first process.

        Args:
            runner: The run.
            error: What ended it before its time; None if it has reached its end.
        """
        if not self._facts:
            return
        try:
            page = self._write(runner, error)
        except Exception as problem:
            _tell(runner, f"{PAGE} could not be written", problem)
            return
        runner.logger.info(f"{PAGE_WRITTEN}{page}")

    def _begin(self, runner: Runner, kind: str) -> None:
        self._facts = {"kind": kind}
        try:
            self._facts = run_facts(runner, kind, self.data)
            write_facts(_start(runner), self._facts)
        except Exception as error:
            _tell(runner, "Not all that is known of this run could be kept for its report", error)

    def _write(self, runner: Runner, error: BaseException | None) -> Path:
        training = self._facts["kind"] == "train"
        self._facts["ended"] = _ending(error)
        if training:
            self._facts["ended"]["step"] = runner.iter
            if self.flops and error is None and "model" in self._facts:
                self._facts["model"] |= operations(runner)
        self._facts["peak_memory_mib"] = peak_memory_mib()
        write_facts(_start(runner), self._facts)
        if not training:
            return write_test_report(read_start(_start(runner)))
        left = read_training(runner.work_dir, newest=_start(runner))
        if left is None:  # the folder was taken away
            raise FileNotFoundError(f"{runner.work_dir} holds no training any more")
        return write_training_report(left)


def _ending(error: BaseException | None) -> dict[str, Any]:
    ended: dict[str, Any] = {"how": "finished", "at": datetime.now().isoformat(timespec="seconds")}
    if error is not None:
        from mmattn.errors import Preempted

        stopped = isinstance(error, (KeyboardInterrupt, Preempted))
        ended["how"] = "interrupted" if stopped else "failed"
        name = "" if stopped else f"{type(error).__name__}: "
        ended["error"] = f"{name}{error}"
    return ended


def _start(runner: Runner) -> Path:
    return Path(runner.log_dir)


def _tell(runner: Runner, what: str, error: BaseException) -> None:
    runner.logger.warning(f"{what}; the run itself is unharmed. {type(error).__name__}: {error}")
