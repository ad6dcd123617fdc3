"""Log statistics of a network's attention during validation: collapsed, local, alike?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mmattn.errors import ConfigError, MMAttnError, reason_of
from mmattn.inference.model import unwrap_model
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner


@HOOKS.register_module()
class AttentionStatisticsHook(Hook):
    """Log statistics of attention layers, every n-th validation.

    The first image of each of the first batches is run once more, alone, with its attention
    recorded. The log gets a table with the means over heads and images of every layer,
    ``vis_data/attention_statistics.jsonl`` a line for each validation with every head.

    Args:
        interval: n; 1 is every validation.
        images: Number of images that are measured.
        at: Name or pattern of the modules; ``auto`` takes all whose attention is known.

    Raises:
        ConfigError: An argument is below 1; before the first step, no attention is known there; at
            a validation, a layer is not the one of the formula that mmattn knows.
    """

    priority = "LOW"

    def __init__(self, interval: int = 1, images: int = 4, at: str = "auto") -> None:
        if interval < 1 or images < 1:
            raise ConfigError(
                f"AttentionStatisticsHook: interval={interval} and images={images} must be at "
                "least 1"
            )
        self.interval = interval
        self.images = images
        self.at = at
        self._validations = 0
        self._measured = 0
        self._sums: dict[str, dict[str, np.ndarray]] = {}
        self._counts: dict[str, dict[str, int]] = {}

    def before_train(self, runner: Runner) -> None:
        """Refuse a network without attention before it is trained."""
        self._modules(unwrap_model(runner))

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin to count."""
        self._measured = 0
        self._sums, self._counts = {}, {}

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Measure the first image of the batch."""
        due = (self._validations + 1) % self.interval == 0
        if not due or self._measured >= self.images or not is_main_process():
            return
        self._measured += 1
        one = {key: values[:1] for key, values in data_batch.items()}
        try:
            self._measure(runner, one)
        except MMAttnError as error:
            # One process alone measures: if it ended here, the others would wait for it.
            self._measured, self.images = 0, 0
            self._sums, self._counts = {}, {}
            runner.logger.warning(
                f"AttentionStatisticsHook measures no more in this run: {reason_of(error)}"
            )

    def _modules(self, model: Any) -> dict[str, Any]:
        from mmattn.explain.attention.record import extractor_of
        from mmattn.explain.attention.views import attention_modules

        modules = attention_modules(model, self.at)
        modules = {name: m for name, m in modules.items() if extractor_of(m) is not None}
        if not modules:
            raise ConfigError(
                f"AttentionStatisticsHook: at={self.at!r} has no layer whose weights are known"
            )
        return modules

    def _measure(self, runner: Runner, batch: dict[str, Any]) -> None:
        import torch

        from mmattn.explain.attention.layer import Attention
        from mmattn.explain.attention.measure import measure
        from mmattn.explain.attention.record import recorded_attention

        model: Any = unwrap_model(runner)
        modules = self._modules(model)

        def receive(record: Attention) -> None:
            name = record.name
            if record.step:
                name = f"{name}, pass {record.step}"
            self._add(name, measure(record, image))

        with torch.no_grad():
            data = model.data_preprocessor(batch, False)
            image = tuple(data["inputs"].shape[2:])
            with recorded_attention(modules, image, receive, model=model):
                model(**data, mode="predict")

    def _add(self, name: str, found: dict[str, np.ndarray]) -> None:
        sums, counts = self._sums.setdefault(name, {}), self._counts.setdefault(name, {})
        for key, values in found.items():  # not every image has all of them: a grid may be unknown
            sums[key] = sums.get(key, 0.0) + values
            counts[key] = counts.get(key, 0) + 1

    def _means(self) -> dict[str, dict[str, np.ndarray]]:
        return {
            name: {key: values / self._counts[name][key] for key, values in sums.items()}
            for name, sums in self._sums.items()
        }

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the table and the file."""
        self._validations += 1
        if not self._sums:
            return
        means = self._means()
        runner.logger.info(f"Attention of {self._measured} images:\n{attention_table(means)}")
        folder = Path(runner.log_dir) / "vis_data"
        folder.mkdir(parents=True, exist_ok=True)
        line = {
            "iter": runner.iter,
            "images": self._measured,
            "layers": {
                name: {key: values.tolist() for key, values in found.items()}
                for name, found in means.items()
            },
        }
        with open(folder / "attention_statistics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def attention_table(means: dict[str, dict[str, np.ndarray]]) -> str:
    """Return a table with a row for every layer: means over its heads.

    Args:
        means: Name of a layer -> statistic -> (heads,).
    """
    from mmattn.explain.attention.measure import STATISTICS
    from mmattn.tables import text_table

    known = [key for key in STATISTICS if any(key in found for found in means.values())]
    rows = []
    for name, found in means.items():
        heads = len(next(iter(found.values())))
        cells = [f"{found[key].mean():.3g}" if key in found else "" for key in known]
        rows.append([name, heads, *cells])
    head = ["layer", "heads", *(key.replace("_", " ") for key in known)]
    return text_table(head, rows, align="l" + "r" * (len(head) - 1))
