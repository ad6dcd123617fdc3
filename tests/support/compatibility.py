"""Run a config of mmdet or mmseg as its file has it: build, train one step, predict.

The model, its data preprocessor, the targets and their packing and the optimizer are the config's
own; the images are tiny and drawn (``tests.support.scenes``). What differs from a real run:

- no weights are fetched, and SyncBN is BN, as in every run of one process;
- the size to which a preprocessor pads every image is that of the tiny images;
- what would hide a fault in a first step is taken away (``_build``), and the step is as small as
  that of a warm-up; where frozen batch norms make an untrained network explode, they take the
  statistics of the images first (``Case.fits_norms``);
- mixed precision is the CPU's, as in every run there (``mmattn.config.run_settings.use_cpu_amp``);
- thresholds are open when predicting: all scores of an untrained network lie below them, and there
  would be nothing to post-process.
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmattn.config.walk import walk
from mmattn.quiet import quiet

from .scenes import draw_scene

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

    from .upstream_configs import Case

_BATCH = 2
# The first factor of mmdet's warm-up. A first step at the full rate can throw a network anywhere.
_WARM_UP = 0.001
# The transforms that make targets or pack them; the others load, resize, crop and flip.
_TARGET_TRANSFORMS = ("GenerateEdge", "PackDetInputs", "PackSegInputs", "PackTrackInputs")
_TARGET_TRANSFORMS += ("PackReIDInputs", "LinesToArray", "PackLineDetectionInputs")
_TEST_FRAMES = 2  # of a video to predict
_BRANCHES = ("unsup_teacher", "unsup_student")
_THRESHOLDS = ("score_thr", "filter_thr", "mask_thr")  # the latter two are SOLOv2's


@dataclass
class Outcome:
    """How far one config came.

    Attributes:
        loss: The loss of the step, once it is known to be finite.
        trainable: Number of parameters (tensors) that the config means to train.
        without_gradient: Those that no gradient reached -> the reason, ``""`` where none is known.
        ops: Names of the functions of ``mmcv._ext`` that were called.
        error: What failed, in one line; empty if nothing did.
        needs: Optional packages that the config needs (model, data and metrics) -> the version that
            is installed, ``""`` where it is not.
        install: Command that installs ``needs``.
        cpu_seconds: Time that its process computed; 0 where it had none of its own.
        gigabytes: The most memory that its process held; 0 likewise.
    """

    case: Case
    builds: bool = False
    trains: bool = False
    predicts: bool = False
    loss: float | None = None
    trainable: int = 0
    without_gradient: dict[str, str] = field(default_factory=dict)
    ops: set[str] = field(default_factory=set)
    error: str = ""
    traceback: str = ""
    needs: dict[str, str] = field(default_factory=dict)
    install: str = ""
    cpu_seconds: float = 0.0
    gigabytes: float = 0.0

    @property
    def unexplained(self) -> list[str]:
        """Parameters that no gradient reached although nothing in the table says why."""
        return [name for name, why in self.without_gradient.items() if not why]

    @property
    def works(self) -> bool:
        """Whether all went well."""
        idle = self.unexplained if self.case.strict else []
        return self.predicts and not self.error and not idle


def run_case(case: Case) -> Outcome:
    """Build, train and predict with the config of ``case``; a config that fails raises nothing."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import DefaultScope

    from mmattn.config.optional_packages import require_packages

    outcome = Outcome(case)
    torch.manual_seed(0)
    try:
        cfg = _load(case, outcome)
        with (
            DefaultScope.overwrite_default_scope(cfg.default_scope),
            _quiet_first_iteration(),
            recorded_ext_calls() as outcome.ops,
        ):
            model = _build(cfg)
            outcome.builds = True
            if case.fits_norms:
                _fit_norms(model, cfg, case)
            if not case.trains_by_parts:
                # As the checks before a training do; those of the data are not at stake here.
                require_packages(Config({"model": cfg.model}), ("train",))
                _train(model, cfg, outcome)
                outcome.trains = True
            _predict(model, cfg, case)
            outcome.predicts = True
        _check_ops(outcome)
    except Exception as error:
        outcome.error = _one_line(error)
        outcome.traceback = traceback.format_exc()
    return outcome


def _load(case: Case, outcome: Outcome) -> Config:
    """The config; a preprocessor that pads to a fixed size pads to that of the images."""
    from mmattn.config import load_config
    from mmattn.config.optional_packages import install_line, needed_packages
    from mmattn.config.run_settings import use_cpu_amp
    from mmattn.errors import MissingPackageError

    try:
        cfg = load_config(case.config)
    except MissingPackageError as error:
        outcome.needs, outcome.install = (
            {error.name or "": ""},
            str(error).partition("install: ")[2],
        )
        raise
    needs = needed_packages(cfg, ("train", "val", "test"))
    outcome.needs = {need.module: _version_of(need.module) for need in needs}
    outcome.install = install_line(needs) if needs else ""
    for path, value in walk(cfg.model):
        if path.endswith("data_preprocessor") and isinstance(value, dict):
            if value.get("size") is not None:
                value.size = case.size
            for augment in value.get("batch_augments") or ():
                if augment.type == "BatchFixedSizePad":
                    augment.size = case.size
    return use_cpu_amp(cfg)


def _version_of(module: str) -> str:
    """The installed version of the distribution that brings ``module``, or ``""``."""
    from importlib.metadata import packages_distributions, version

    names = packages_distributions().get(module)
    return f"{names[0]} {version(names[0])}" if names else ""


def _build(cfg: Config) -> nn.Module:
    """The model with its own initialisation, made fit to show something within a single step.

    A branch that starts at zero (the last norm of every residual block, unless pretrained weights
    are fetched; a gate; a regression layer) lets no gradient pass in the first step, which would
    hide an operator without a backward pass: its weights become small random numbers. And batch
    norms take the statistics of that step as they are: running ones that have hardly left their
    initial values would switch the network off.
    """
    import torch

    from mmattn.inference import build_model

    model = build_model(cfg)
    for name, parameter in model.named_parameters():
        if not name.endswith("bias") and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    model.train()  # mmdet's distillation returns None here
    return model


def _fit_norms(model: nn.Module, cfg: Config, case: Case) -> None:
    """Give frozen batch norms the statistics of the images, as those of pretrained weights fit."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.train()
    batch = model.data_preprocessor(make_batch(cfg, case, train=True), training=True)
    with torch.no_grad():
        model(**batch, mode="loss")
    model.train()


def _train(model: nn.Module, cfg: Config, outcome: Outcome) -> None:
    """``model.train_step``, with a look at the gradients before the optimizer clears them."""
    import torch
    from mmengine.optim import build_optim_wrapper

    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    for group in optimizer.param_groups:
        group["lr"] *= _WARM_UP
    batch = model.data_preprocessor(make_batch(cfg, outcome.case, train=True), training=True)
    with optimizer.optim_context(model):
        losses = model(**batch, mode="loss")
    loss, _ = model.parse_losses(losses)
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss.item()}")
    optimizer.backward(loss)
    outcome.loss = loss.item()
    _check_gradients(model, outcome)
    optimizer.step()
    optimizer.zero_grad()
    broken = [n for n, p in model.named_parameters() if not torch.isfinite(p).all()]
    if broken:
        raise FloatingPointError(f"the step made {len(broken)} parameters not finite: {broken[:3]}")


def _check_gradients(model: nn.Module, outcome: Outcome) -> None:
    """Count the trainable parameters; a gradient of nothing but zeros counts as none."""
    import torch

    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        outcome.trainable += 1
        gradient = parameter.grad
        if gradient is None or not gradient.any():
            outcome.without_gradient[name] = outcome.case.why_idle(name)
        elif not torch.isfinite(gradient).all():
            raise FloatingPointError(f"the gradient of {name} is not finite")


def _predict(model: nn.Module, cfg: Config, case: Case) -> None:
    import torch

    from .prediction_checks import check_prediction

    _open_thresholds(model)
    model.eval()
    with torch.no_grad():
        results = model.test_step(make_batch(cfg, case, train=False))
    if len(results) != 1:
        raise AssertionError(f"{len(results)} results for one image")
    check_prediction(results[0], case, cfg)


def _open_thresholds(model: nn.Module) -> None:
    """Let every candidate pass, wherever in the model the test settings are kept."""

    def open_in(settings: Any) -> None:
        if isinstance(settings, dict):
            for key, value in settings.items():
                if key in _THRESHOLDS:
                    settings[key] = 0.0
                open_in(value)

    for module in model.modules():
        open_in(getattr(module, "test_cfg", None))


def _check_ops(outcome: Outcome) -> None:
    """A config that went around an operator proves nothing about it."""
    for family in outcome.case.ops:
        if not any(op == family or op.startswith(f"{family}_") for op in outcome.ops):
            raise AssertionError(f"mmcv._ext.{family} was never called")


def make_batch(cfg: Config, case: Case, *, train: bool) -> dict[str, list]:
    """A batch of tiny scenes, packed by the config's own transforms.

    Args:
        train: Two scenes with targets, through the end of the training pipeline; else one scene
            without any, through that of the test pipeline.
    """
    from mmengine.dataset import Compose, pseudo_collate

    split = "train" if train else "test"
    # A file without dataloaders, such as CLRNet's, has pipelines to be used in one.
    loader = cfg.get(f"{split}_dataloader")
    transforms = _pipeline(loader.dataset) if loader else cfg[f"{split}_pipeline"]
    if train and case.semi_supervised:
        return _semi_supervised_batch(case)
    pipeline = Compose([s for s in transforms if s.type in _TARGET_TRANSFORMS])
    frames = case.train_frames if train else _TEST_FRAMES * case.video
    if frames:
        count = range(_BATCH if train else 1)
        return pseudo_collate([pipeline(_video(case, v, frames, targets=train)) for v in count])
    if case.task == "reid":
        return pseudo_collate([pipeline(_people(case, v)) for v in range(_BATCH if train else 1)])
    if case.task == "lanes":
        return pseudo_collate([pipeline(_road(case, v)) for v in range(_BATCH if train else 1)])
    seeds = range(_BATCH if train else 1)
    return pseudo_collate([pipeline(_sample(case, seed, targets=train)) for seed in seeds])


def _semi_supervised_batch(case: Case) -> dict[str, dict[str, list]]:
    """One labelled scene, and one unlabelled scene as the teacher and the student see it."""
    import numpy as np
    from mmdet.datasets.transforms import PackDetInputs

    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip")
    pack = PackDetInputs(meta_keys=(*keys, "flip_direction", "homography_matrix"))
    same = {"homography_matrix": np.eye(3, dtype=np.float32)}
    branches = {"sup": pack(_sample(case, 0, targets=True) | same)}
    none = _sample(case, 1, targets=True) | same
    none |= {key: none[key][:0] for key in ("gt_bboxes", "gt_bboxes_labels", "gt_ignore_flags")}
    branches |= {name: pack(none) for name in _BRANCHES}
    return {
        key: {name: [packed[key]] for name, packed in branches.items()}
        for key in ("inputs", "data_samples")
    }


def _video(case: Case, number: int, frames: int, *, targets: bool) -> dict[str, list]:
    """Frames of one scene, as the loading transforms of a video leave them: a list per field."""
    import numpy as np

    video = []
    for frame in range(frames):
        sample = _sample(case, number, targets=targets)
        sample |= {"frame_id": frame, "video_id": number, "key_frame_flags": frame == 0}
        sample |= {"video_length": frames, "ori_video_length": frames}
        if targets:
            sample["gt_bboxes"] = sample["gt_bboxes"].numpy()
            sample["gt_instances_ids"] = np.arange(len(sample["gt_bboxes_labels"]))
        video.append(sample)
    return {key: [sample[key] for sample in video] for key in video[0]}


def _people(case: Case, number: int) -> dict[str, Any]:
    """Two images of each of two persons, for re-identification."""
    samples = [_sample(case, seed, targets=False) for seed in range(4)]
    people = {key: [sample[key] for sample in samples] for key in samples[0]}
    return (
        people
        | {"gt_label": [2 * number + seed % 2 for seed in range(4)]}
        | {"scale": [case.size[::-1]] * 4}
    )


def _road(case: Case, number: int) -> dict[str, Any]:
    """An image with three lanes, as points from the bottom to the top, and their label map."""
    import numpy as np

    height, width = case.size
    rows = np.arange(height - 1, height // 2, -10, dtype=np.float32)
    lines = [
        [(width * (0.2 + 0.3 * lane) + (height - y) * (1 - lane) * 0.3, y) for y in rows]
        for lane in range(3)
    ]
    label_map = np.zeros(case.size, dtype=np.uint8)
    for lane, line in enumerate(lines):
        for x, y in line:
            label_map[int(y), int(x) - 3 : int(x) + 3] = lane + 1
    size = {"org_height": height, "org_width": width}
    lanes = {"lines": lines, "org_lines": lines, "gt_seg_map": label_map}
    return {"img": draw_scene(case.size, number).image} | size | lanes


def _pipeline(dataset: Any) -> list[dict]:
    """The transforms of a dataset, or of what it wraps or concatenates."""
    while "pipeline" not in dataset:
        dataset = dataset["dataset"] if "dataset" in dataset else dataset["datasets"][0]
    return dataset["pipeline"]


def _sample(case: Case, seed: int, *, targets: bool) -> dict[str, Any]:
    """Scene number ``seed`` as the loading transforms of mmdet and mmseg leave it."""
    import numpy as np
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks

    scene = draw_scene(case.size, seed)
    labels = scene.labels % case.num_classes
    sample: dict[str, Any] = {
        "img": scene.image,
        "img_id": seed,
        "img_path": f"scene_{seed}.png",
        "img_shape": case.size,
        "ori_shape": case.size,
        "pad_shape": case.size,
        "scale_factor": (1.0, 1.0),
        "flip": False,
        "flip_direction": None,
        "border": np.array([0, case.size[0], 0, case.size[1]], dtype=np.float32),
    }
    if case.with_proposals:
        sample["proposals"] = scene.boxes
        sample["proposals_scores"] = np.ones(len(labels), dtype=np.float32)
    if not targets:
        return sample
    if case.background is not None:
        sample["gt_seg_map"] = scene.semantic_map(case.background)
    if case.task != "semantic":
        sample["gt_bboxes"] = HorizontalBoxes(scene.boxes)
        sample["gt_bboxes_labels"] = labels
        sample["gt_ignore_flags"] = labels < 0  # none
    if case.task in ("instance", "panoptic"):
        sample["gt_masks"] = BitmapMasks(scene.masks, *case.size)
    return sample


@contextmanager
def _quiet_first_iteration() -> Iterator[None]:
    """What a runner sets up around a step: a message hub that counts, a logger (silent)."""
    from mmengine.logging import MessageHub, MMLogger

    hubs = MessageHub._instance_dict.copy()
    hub = MessageHub.get_instance(f"compatibility-{time.time_ns()}")
    hub.update_info_dict({"iter": 0, "epoch": 0})
    try:
        with quiet(MMLogger.get_current_instance()):
            yield
    finally:
        MessageHub._instance_dict = hubs


@contextmanager
def recorded_ext_calls() -> Iterator[set[str]]:
    """The names of the functions of ``mmcv._ext`` that are called meanwhile."""
    import mmcv._ext as ext

    called: set[str] = set()
    originals = {n: f for n, f in vars(ext).items() if callable(f) and not n.startswith("_")}

    def recorder(name: str):
        def call(*args, **kwargs):
            called.add(name)
            return originals[name](*args, **kwargs)

        return call

    for name in originals:
        setattr(ext, name, recorder(name))
    try:
        yield called
    finally:
        for name, function in originals.items():
            setattr(ext, name, function)


def _one_line(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error)).strip()
    return f"{type(error).__name__}: {text[:300]}".rstrip(": ")
