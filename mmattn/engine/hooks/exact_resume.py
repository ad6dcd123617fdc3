"""Go on at the very batch where a training was stopped, with the random numbers of that place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from mmattn.engine.positioned_loading import PassedBatches, reseed, seed_of_all
from mmattn.inference.model import unwrap_model
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner

#: Where a checkpoint's meta holds what this hook needs.
KEY = "position"


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Keep the position of a training in its data, and resume from there.

    mmengine's checkpoints know the epoch, not the batch in it: a run that is resumed in the middle
    of an epoch sees the images of its beginning again. This hook keeps the number of the batch, and
    the size that ``BatchSyncRandomResize`` has drawn for the next batches, in each checkpoint.
    The loader has to be a ``PositionedLoader`` (``load_by_position``).

    Args:
        exact: Draw augmentation from seed and position, so that it is that of a run that was never
            stopped, for any number of workers. Without it, images follow each other in the same
            order, and are augmented otherwise.
    """

    priority = "VERY_HIGH"  # before hooks that save

    def __init__(self, exact: bool = True) -> None:
        self.exact = exact
        #: Batches of the current epoch that a run before this one has seen.
        self.offset = 0
        self._stored: dict[str, Any] | None = None
        self._last = (-1, 0)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take up the position, where a training is resumed."""
        if runner._resume:
            self._stored = dict((checkpoint.get("meta") or {}).get(KEY) or {})

    def before_train(self, runner: Runner) -> None:
        """Move the loader to the position; no image of the batches before it is read."""
        loader = positioned_loader(runner)
        if loader is not None:
            reseed(runner, loader)
            if self.exact:
                loader.seed_samples(seed_of_all(runner))
            if loader.positions.endless:
                loader.positions.begin(0, runner.iter)
                batches = getattr(runner.train_loop, "dataloader_iterator", None)
                if isinstance(batches, PassedBatches):
                    batches.resume_at(runner.iter)
            else:
                self.offset = self._seen(runner, len(loader))
        self._last = (runner.epoch, self.offset)
        for name, module in _resizing(runner):
            size = (self._stored or {}).get("input_sizes", {}).get(name)
            module._input_size = tuple(size) if size else None
        self._stored = None

    def _seen(self, runner: Runner, length: int) -> int:
        """Return the batches of the current epoch that the resumed run has seen."""
        if self._stored is None:
            return 0
        if "batches" not in self._stored:  # of mmengine alone, which names the step only
            seen = runner.iter - runner.epoch * length
            return seen if 0 <= seen <= length else 0
        seen, of = self._stored["batches"], self._stored["of"]
        here = (length, runner.world_size)
        if seen and here != (of, self._stored["processes"]):
            runner.logger.warning(
                f"Epoch {runner.epoch + 1} begins anew: the checkpoint lies behind {seen} of its "
                f"{of} batches (of {self._stored['processes']} processes), and now it has {length} "
                f"(of {runner.world_size})."
            )
            return 0
        return seen

    def before_train_epoch(self, runner: Runner) -> None:
        """Begin the epoch where the run before this one left it."""
        loader = positioned_loader(runner)
        if loader is not None and not loader.positions.endless:
            if runner.epoch != self._last[0]:
                self.offset = 0
            loader.positions.begin(runner.epoch, self.offset)
            self._last = (runner.epoch, self.offset)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        """Count the batch."""
        self._last = (runner.epoch, batch_idx + 1)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Store the position and the size of the next images."""
        loader = positioned_loader(runner)
        meta, stored = checkpoint["meta"], {}
        if loader is not None and not loader.positions.endless:
            epoch, seen = self._last
            stored = {
                "batches": seen if meta["epoch"] == epoch else 0,
                "of": len(loader),
                "processes": runner.world_size,
            }
        sizes = {name: m._input_size for name, m in _resizing(runner) if m._input_size}
        if sizes:
            stored["input_sizes"] = {name: [int(n) for n in size] for name, size in sizes.items()}
        if stored:
            meta[KEY] = stored


def positioned_loader(runner: Runner) -> Any:
    """Return the training loader; None where its batches have no position."""
    from mmattn.data.positions import PositionedLoader

    loader = runner.train_dataloader
    return loader if isinstance(loader, PositionedLoader) else None


def _resizing(runner: Runner) -> list[tuple[str, Any]]:
    """List mmdet's ``BatchSyncRandomResize``, which keeps a size for several steps."""
    named = unwrap_model(runner).named_modules()
    return [(n, m) for n, m in named if hasattr(m, "_input_size") and hasattr(m, "_interval")]
