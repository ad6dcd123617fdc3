"""Hooks that count epochs, in a training that counts iterations: each acts at its share of it.

mmdet's configs change the pipeline, the loss or the model after so many epochs. A training by
iterations has one epoch, number 0 of 1, so that these hooks would act at once, or never. Here
pipelines change inside ``mmattn.SeededDataset``, which knows the number of each sample, and the
other hooks are replaced by hooks that count iterations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError
from mmattn.type_names import bare_name

if TYPE_CHECKING:
    from mmengine.config import Config

#: Types that mmdet's hook of this name skips unless it says otherwise.
_YOLOX_SKIPS = ("Mosaic", "RandomAffine", "MixUp")
_YOLOX_LAST, _OUR_LAST = 15, 10


@dataclass
class TranslatedHooks:
    """Hooks that count iterations, in the place of those that count epochs.

    Attributes:
        custom: ``custom_hooks`` of the training by iterations.
        default: ``default_hooks`` of it.
        switches: Changes of the training pipeline for ``SeededDataset``: ``iteration``, and
            ``pipeline`` or ``skip``.
        remarks: Sentences about what was changed, or has no effect.
    """

    custom: list[Any] = field(default_factory=list)
    default: dict[str, Any] = field(default_factory=dict)
    switches: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def translate_hooks(cfg: Config, epoch: float) -> TranslatedHooks:
    """Translate the hooks of ``cfg`` to a training by iterations.

    Args:
        cfg: Config of any training, which is left as it is.
        epoch: Iterations in the new training that correspond to one epoch of ``cfg``.

    Raises:
        ConfigError: A hook counts the epochs of a training that goes by iterations in ``cfg``.
    """
    given = cfg.to_dict()
    result = TranslatedHooks()
    for hook in given.get("custom_hooks") or []:
        result.custom += _translate(cfg, hook, epoch, result)
    for key, hook in (given.get("default_hooks") or {}).items():
        new = [] if hook is None else _translate(cfg, hook, epoch, result)
        result.default[key] = new[0] if new else None
    return result


def _translate(cfg: Config, hook: Any, epoch: float, result: TranslatedHooks) -> list[Any]:
    """Return the hooks that take the place of ``hook``."""
    if not isinstance(hook, Mapping):
        return [hook]
    name = bare_name(hook.get("type"))
    epochs = (cfg.get("train_cfg") or {}).get("max_epochs")

    def at(number: float) -> int:
        return max(0, round(number * epoch))

    def say(what: str, iteration: int) -> None:
        result.remarks.append(f"{name}: {what} from iteration {iteration} on, as it would after "
                              "that share of the config's epochs.")  # fmt: skip

    if "EarlyStopping" in name:
        result.remarks.append(
            "EarlyStoppingHook is left out, so that all variants train equally long."
        )
        return []
    if name in ("LastEpochsPipelineHook", "YOLOXModeSwitchHook") and epochs is None:
        raise ConfigError(
            f"{cfg.filename}: {name} counts the last epochs, but train_cfg goes by iterations. Set "
            "train_cfg.type='EpochBasedTrainLoop' and max_epochs, or remove the hook from "
            "custom_hooks."
        )
    if name == "LastEpochsPipelineHook":
        start = at(epochs - hook.get("last_epochs", _OUR_LAST))
        change = {key: hook[key] for key in ("pipeline", "skip") if hook.get(key) is not None}
        result.switches.append({"iteration": start, **change})
        say("the training pipeline changes", start)
        return []
    if name == "PipelineSwitchHook" and epochs is not None:
        start = at(hook["switch_epoch"])
        result.switches.append({"iteration": start, "pipeline": hook["switch_pipeline"]})
        say("the training pipeline changes", start)
        return []
    if name == "YOLOXModeSwitchHook":
        # mmdet's hook compares epoch + 1, so that it is one epoch early.
        start = at(epochs - hook.get("num_last_epochs", _YOLOX_LAST) - 1)
        skip = list(hook.get("skip_type_keys", _YOLOX_SKIPS))
        result.switches.append({"iteration": start, "skip": skip})
        say(f"no {', '.join(skip)}, and an L1 loss besides", start)
        return [{"type": "mmattn.L1LossFromIterHook", "begin": start}]
    if name == "SetEpochInfoHook":
        result.remarks.append(f"{name}: {epoch:.4g} iterations count as one epoch of the config.")
        return [{"type": "mmattn.EpochInfoByIterHook", "iterations_per_epoch": epoch}]
    if name == "EMAHook" and hook.get("begin_epoch"):
        start = at(hook["begin_epoch"])
        say("weights are averaged", start)
        rest = {key: value for key, value in hook.items() if key != "begin_epoch"}
        return [{**rest, "begin_iter": start}]
    keys = [key for key in _epoch_keys(hook) if name not in _REPLACED]
    if keys:
        result.remarks.append(
            f"{name} ({', '.join(keys)}) counts epochs, of which this training has a single one: "
            "it acts at once or not at all."
        )
    return [dict(hook)]


#: Hooks that a comparison replaces anyway.
_REPLACED = ("CheckpointHook", "LoggerHook")


def _epoch_keys(hook: Mapping[str, Any]) -> Iterable[str]:
    return (key for key, value in hook.items() if "epoch" in key and value)
