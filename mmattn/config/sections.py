"""Check that each section of a config is of the type that its readers take it for.

``visualizer="X"`` instead of ``visualizer=dict(type="X")`` would otherwise end in an AttributeError
of whoever reads the section first. ``load_config`` checks before and after the options are merged,
and whatever takes a config from elsewhere checks first (``preflight``, ``build_model``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .problems import refuse
from .walk import LOADERS

if TYPE_CHECKING:
    from mmengine.config import Config

#: What a section must be, and how one is written. ``dicts`` is a dict or a list of dicts.
_SECTIONS: dict[str, tuple[str, str]] = {
    "model": ("dict", "model=dict(type='EncoderDecoder', ...)"),
    "data_preprocessor": ("dict", "data_preprocessor=dict(type='SegDataPreProcessor', ...)"),
    **{key: ("dict", f"{key}=dict(batch_size=2, dataset=dict(...), ...)") for key in LOADERS},
    "train_cfg": ("dict", "train_cfg=dict(type='IterBasedTrainLoop', max_iters=40000)"),
    "val_cfg": ("dict", "val_cfg=dict(type='ValLoop')"),
    "test_cfg": ("dict", "test_cfg=dict(type='TestLoop')"),
    "val_evaluator": ("dicts", "val_evaluator=dict(type='IoUMetric')"),
    "test_evaluator": ("dicts", "test_evaluator=dict(type='IoUMetric')"),
    "optim_wrapper": ("dict", "optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01))"),
    "param_scheduler": ("dicts", "param_scheduler=[dict(type='PolyLR', ...)]"),
    "auto_scale_lr": ("dict", "auto_scale_lr=dict(base_batch_size=16)"),
    "default_hooks": (
        "named",
        "default_hooks=dict(logger=dict(type='LoggerHook')); a hook without a name goes into "
        "custom_hooks=[dict(type=...)]",
    ),
    "custom_hooks": ("list", "custom_hooks=[dict(type='EMAHook')]"),
    "visualizer": ("dict", "visualizer=dict(type='SegLocalVisualizer', vis_backends=[...])"),
    "log_processor": ("dict", "log_processor=dict(by_epoch=False)"),
    "env_cfg": ("dict", "env_cfg=dict(cudnn_benchmark=True)"),
    "randomness": ("dict", "randomness=dict(seed=0)"),
    "custom_imports": ("dict", "custom_imports=dict(imports=['my_package'])"),
    "model_wrapper_cfg": ("dict", "model_wrapper_cfg=dict(type='MMDistributedDataParallel')"),
    "tta_model": ("dict", "tta_model=dict(type='SegTTAModel')"),
    "tta_pipeline": ("list", "tta_pipeline=[dict(type='LoadImageFromFile'), ...]"),
    "work_dir": ("string", "work_dir='work_dirs/name'"),
    "load_from": ("string", "load_from='checkpoint.pth'"),
    "default_scope": ("string", "default_scope='mmseg'"),
    "experiment_name": ("string", "experiment_name='name'"),
}
#: Parts of the sections above that are read before they are built.
_PARTS: dict[str, tuple[str, str]] = {
    **{
        f"model.{part}": ("dicts", f"{part}=dict(type=...)")
        for part in ("backbone", "neck", "decode_head", "auxiliary_head", "bbox_head", "rpn_head",
                     "roi_head", "mask_head", "panoptic_head")
    },
    "model.data_preprocessor": ("dict", "data_preprocessor=dict(type=...)"),
    **{f"{loader}.dataset": ("dict", "dataset=dict(type=...)") for loader in LOADERS},
    **{f"{loader}.sampler": ("dict", "sampler=dict(type=...)") for loader in LOADERS},
    "optim_wrapper.optimizer": ("dict", "optimizer=dict(type='SGD', lr=0.01)"),
}  # fmt: skip
_WORDS = {
    "dict": "a dict",
    "named": "a dict of dicts",
    "dicts": "a dict or a list of dicts",
    "list": "a list of dicts",
    "string": "a string",
}
#: Everything that a config can write down; other objects are left to whoever builds with them.
_PLAIN = (str, bytes, int, float, complex, list, tuple, set, Mapping)


def check_sections(cfg: Config | Mapping[str, Any], filename: str | None = None) -> None:
    """Refuse sections of a wrong type; those that are not there or None pass.

    Args:
        cfg: The whole config.
        filename: Path of the config, used in messages.

    Raises:
        ConfigError: Sections are of another type; the message has the key and the value of each,
            and how it is written.
    """
    refuse(section_problems(cfg), filename)


def section_problems(cfg: Config | Mapping[str, Any]) -> list[str]:
    """List sections of a wrong type; see ``check_sections``."""
    problems = []
    for key, (wanted, example) in _SECTIONS.items():
        problems += _problems(key, cfg.get(key), wanted, example)
    for key, (wanted, example) in _PARTS.items():
        section, _, part = key.partition(".")
        if isinstance(cfg.get(section), Mapping):
            problems += _problems(key, cfg[section].get(part), wanted, example)
    for loader in LOADERS:
        if isinstance(cfg.get(loader), Mapping):
            dataset = cfg[loader].get("dataset")
            problems += _dataset_problems(dataset, f"{loader}.dataset")
    return problems


def _dataset_problems(dataset: Any, where: str) -> Iterator[str]:
    """Look into datasets and their wrappers for pipelines and inner datasets of a wrong type."""
    if not isinstance(dataset, Mapping):
        return
    pipeline = "pipeline=[dict(type='LoadImageFromFile'), ...]"
    yield from _problems(f"{where}.pipeline", dataset.get("pipeline"), "list", pipeline)
    inner = dataset.get("datasets")
    yield from _problems(f"{where}.datasets", inner, "list", "datasets=[dict(type=...), ...]")
    if isinstance(inner, (list, tuple)):
        for index, one in enumerate(inner):
            yield from _dataset_problems(one, f"{where}.datasets[{index}]")
    yield from _dataset_problems(dataset.get("dataset"), f"{where}.dataset")


def _problems(key: str, value: Any, wanted: str, example: str) -> Iterator[str]:
    if value is None or not isinstance(value, _PLAIN):
        return
    if wanted not in _forms(value):
        yield f"{key}={_short(value)} must be {_WORDS[wanted]}, such as {example}"
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _item_problems(f"{key}[{index}]", item)
    elif isinstance(value, Mapping) and wanted == "named":
        for name, item in value.items():
            yield from _item_problems(f"{key}.{name}", item)


def _forms(value: Any) -> tuple[str, ...]:
    """Return which of ``_WORDS`` a value is, leaving aside what is in it."""
    if isinstance(value, Mapping):
        return ("dict", "named", "dicts")
    if isinstance(value, (list, tuple)):
        return ("dicts", "list")
    return ("string",) if isinstance(value, str) else ()


def _item_problems(key: str, item: Any) -> Iterator[str]:
    if isinstance(item, _PLAIN) and not isinstance(item, Mapping):
        type_name = repr(item) if isinstance(item, str) else "..."
        yield f"{key}={_short(item)} must be a dict, such as dict(type={type_name})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
