"""Train the last epochs on images as they are: without mosaics, mixed or pasted ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from mmattn.errors import ConfigError
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner


@HOOKS.register_module()
class LastEpochsPipelineHook(Hook):
    """Replace the training pipeline for the last epochs of a training.

    mmdet's ``PipelineSwitchHook`` does so from a fixed epoch on, which a shorter training may never
    reach; this one counts from the end, whatever ``train_cfg.max_epochs`` is. A run that is resumed
    in these epochs has the pipeline from its first step.

    Args:
        last_epochs: Epochs with the new pipeline; a training that is not longer has no others.
        pipeline: Transforms in place of the training dataset's; of mmdet's
            ``MultiImageMixDataset``, in place of those that mix images.
        skip: Types of transforms to leave out, for ``MultiImageMixDataset`` alone.

    Raises:
        ConfigError: Not just one of ``pipeline`` and ``skip`` is given, the dataset has the other,
            or the training doesn't go by epochs.
    """

    def __init__(
        self,
        last_epochs: int = 10,
        pipeline: Sequence[dict] | None = None,
        skip: Sequence[str] | None = None,
    ) -> None:
        if (pipeline is None) == (skip is None):
            raise ConfigError(
                "LastEpochsPipelineHook needs either pipeline (a list of transforms) or skip "
                "(types to leave out of a MultiImageMixDataset)"
            )
        if last_epochs < 0:
            raise ConfigError(f"LastEpochsPipelineHook: {last_epochs=} must be at least 0")
        self.last_epochs = last_epochs
        self.pipeline = pipeline
        self.skip = skip
        self._steps: Any = None
        self._switched = False

    def before_train(self, runner: Runner) -> None:
        # What would be found hours later.
        from mmengine.runner import IterBasedTrainLoop

        dataset = runner.train_dataloader.dataset
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ConfigError(
                "LastEpochsPipelineHook counts epochs, but the training goes by iterations; use "
                "train_cfg.type='EpochBasedTrainLoop', or remove the hook"
            )
        if not hasattr(dataset, "pipeline"):
            raise ConfigError(
                f"LastEpochsPipelineHook: the training dataset is a {type(dataset).__name__}, "
                "which has no pipeline of its own; set it on a dataset that has one"
            )
        if self.skip is not None and not hasattr(dataset, "update_skip_type_keys"):
            raise ConfigError(
                f"LastEpochsPipelineHook: the training dataset is a {type(dataset).__name__}; "
                "give pipeline instead of skip"
            )
        if self.pipeline is not None:
            from mmengine.dataset import Compose

            self._steps = Compose(self.pipeline)

    def before_train_epoch(self, runner: Runner) -> None:
        if self._switched or runner.epoch < runner.max_epochs - self.last_epochs:
            return
        self._switched = True
        loader = runner.train_dataloader
        dataset: Any = loader.dataset
        if self.skip is not None:
            dataset.update_skip_type_keys(self.skip)
        else:
            composed: Any = self._steps
            if hasattr(dataset, "update_skip_type_keys"):  # a MultiImageMixDataset
                dataset.pipeline = composed.transforms
                dataset.pipeline_types = [type(step).__name__ for step in composed.transforms]
            else:
                dataset.pipeline = composed
        # Workers that live on hold a copy of the dataset; without them, new ones are started.
        if getattr(loader, "persistent_workers", False):
            loader._iterator = None
        runner.logger.info(
            f"Epoch {runner.epoch + 1}: the training pipeline is now that of the last "
            f"{self.last_epochs} epochs."
        )
