"""Patches that let mmcv, mmdet and mmseg run here; ``import mmattn`` turns them on.

- ``mmcv._ext`` becomes importable where no compiled one exists (``mmattn.bridge.ext``), and what
  was imported before mmattn gets its operators (``mmattn.bridge.late_operators``).
- mmengine learns which packages its ``scope::`` names mean (``mmattn.bridge.packages``).
- mmengine's checkpoint loader loses its pickle fallback (``mmattn.bridge.checkpoints``), and runs
  no config text of a checkpoint (``mmattn.bridge.checkpoint_configs``).
- YAML and JSON files make no objects, and configs in them name no code
  (``mmattn.bridge.yaml_json_configs``).
- pycocotools reads annotation files with a byte order mark (``mmattn.bridge.coco_text``).
- ``panopticapi``, which no package index has, becomes importable (``mmattn.bridge.panopticapi``).
- mmcv's deformable attention runs on our operator (``mmattn.bridge.deformable_attention``).
- ``plugins=`` of mmdet's and mmseg's ResNets works everywhere (``mmattn.bridge.resnet_plugins``),
  and those of its RoI extractor take ``init`` (``mmattn.bridge.roi_plugins``).
- A model whose ``num_classes="auto"`` is open says so (``mmattn.bridge.auto_class_counts``).
- Notices that could not be switched off are no longer printed (``mmattn.bridge.printed_notices``).
- mmseg's cross entropy takes class weights where pixels are ignored
  (``mmattn.bridge.class_weight``), and its Lovasz and OHEM losses images without a labelled pixel
  (``mmattn.bridge.empty_losses``).
- mmseg's and mmdet's drawing hooks show images of any depth (``mmattn.bridge.drawn_images``).
- mmdet's SSD predicts (``mmattn.bridge.ssd_head``), its masks are pasted where a box lies outside
  of the image (``mmattn.bridge.mask_pasting``), and its distillation finds its teacher's config
  (``mmattn.bridge.teacher_config``).
- mmcv's own SyncBN is batch norm in a single process (``mmattn.bridge.sync_bn``).
- mmseg's SAN starts without the weights of CLIP (``mmattn.bridge.san_weights``).

The forks ``onedl-*`` and the original packages of the same import names are carried alike. What the
originals need beyond:

- mmdet and mmseg take an mmcv newer than they ask for (``mmattn.bridge.version_checks``).
- mmengine looks packages up without ``pkg_resources`` (``mmattn.bridge.package_lookup``).
- mmengine's own calls of ``torch.load`` read data only (``mmattn.bridge.torch_load``).
- Configs in Python syntax import from the standard library (``mmattn.bridge.builtin_modules``).

Each part that is applied is a line at level DEBUG of the logger ``mmattn.bridge``.

Each part waits until the module it changes is imported, so this costs nothing before.
"""

from __future__ import annotations

from ._import_hooks import when_imported, when_importing


def install() -> None:
    """Turn the bridge on; calling it again changes nothing."""
    global _installed
    if _installed:
        return
    _installed = True
    from .annotation_pickles import READERS as ANNOTATION_READERS
    from .drawn_images import DRAWING, read_for_drawing
    from .ext_finder import provide_mmcv_ext
    from .late_operators import restore_operators
    from .panopticapi_finder import provide_panopticapi
    from .resnet_plugins import RESNETS, WIDE_BLOCKS, patch_resnet, patch_wide_block
    from .roi_plugins import ROI_EXTRACTOR, patch_roi_extractor
    from .version_checks import CHECKING, patch_version_check

    provide_mmcv_ext()
    provide_panopticapi()
    when_imported("mmengine.logging.logger", _honour_print_log_level)
    when_imported("pycocotools.coco", _quiet_coco_index)
    when_imported("pycocotools.coco", _read_byte_order_marks)
    when_imported("mmengine.utils.package_utils", _patch_package_lookup)
    when_imported("mmengine.config.utils", _patch_package_names)
    when_imported("mmengine.config.utils", _patch_builtin_modules)
    when_imported("mmengine.config.config", _patch_config_base)
    when_imported("mmengine.fileio.handlers.yaml_handler", _patch_yaml_loader)
    when_imported("mmengine.config.config", _patch_config_reader)
    when_imported("mmengine.registry.registry", _patch_registry_fallback)
    for name in ANNOTATION_READERS:
        when_imported(name, _refuse_annotation_pickles)
    when_imported("mmengine.registry.build_functions", _explain_auto)
    when_imported("mmengine.runner.checkpoint", _patch_torch_load)
    when_imported("mmengine.runner.checkpoint", _patch_checkpoint_io)
    when_imported("mmengine.runner.runner", _patch_runner)
    when_imported("mmengine.model.weight_init", _patch_pretrained_init)
    when_imported("mmengine.infer.infer", _patch_inferencer)
    when_imported("mmcv.ops.carafe", _allow_carafe_naive)
    when_imported("mmcv.ops.sync_bn", _patch_sync_bn)
    when_imported("mmcv.ops.multi_scale_deform_attn", _speed_up_deformable_attention)
    when_imported("mmseg.models.losses.cross_entropy_loss", _patch_class_weight)
    when_imported("mmseg.models.losses.lovasz_loss", _patch_lovasz)
    when_imported("mmseg.models.losses.ohem_cross_entropy_loss", _patch_ohem)
    when_imported("mmdet.models.dense_heads.ssd_head", _patch_ssd_head)
    when_imported("mmdet.models.roi_heads.mask_heads.fcn_mask_head", _patch_mask_pasting)
    when_imported("mmdet.models.detectors.kd_one_stage", _patch_teacher_config)
    for name in DRAWING:
        when_imported(name, read_for_drawing)
    when_imported("mmseg.models.decode_heads.san_head", _patch_san_head)
    when_imported("mmseg.models.text_encoder.clip_text_encoder", _patch_text_encoder)
    for name in CHECKING:
        when_importing(name, patch_version_check)
    for name in RESNETS:
        when_imported(name, patch_resnet)
    for name in WIDE_BLOCKS:
        when_imported(name, patch_wide_block)
    when_imported(ROI_EXTRACTOR, patch_roi_extractor)
    restore_operators()


_installed = False


def _honour_print_log_level(module) -> None:
    from .printed_notices import honour_print_log_level

    honour_print_log_level(module)


def _quiet_coco_index(module) -> None:
    from .printed_notices import quiet_coco_index

    quiet_coco_index(module)


def _read_byte_order_marks(module) -> None:
    from .coco_text import read_byte_order_marks

    read_byte_order_marks(module)


def _patch_package_lookup(module) -> None:
    from .package_lookup import patch_package_lookup

    patch_package_lookup(module)


def _patch_builtin_modules(module) -> None:
    from .builtin_modules import patch_builtin_modules

    patch_builtin_modules(module)


def _patch_yaml_loader(module) -> None:
    from .yaml_json_configs import patch_yaml_loader

    patch_yaml_loader(module)


def _patch_config_reader(module) -> None:
    from .yaml_json_configs import patch_config_reader

    patch_config_reader(module)


def _patch_registry_fallback(module) -> None:
    from .yaml_json_configs import patch_registry_fallback

    patch_registry_fallback(module)


def _refuse_annotation_pickles(module) -> None:
    from .annotation_pickles import refuse_annotation_pickles

    refuse_annotation_pickles(module)


def _explain_auto(module) -> None:
    from .auto_class_counts import explain_auto

    explain_auto(module)


def _patch_torch_load(module) -> None:
    from .torch_load import patch_torch_load

    patch_torch_load(module)


def _patch_class_weight(module) -> None:
    from .class_weight import patch_class_weight

    patch_class_weight(module)


def _patch_lovasz(module) -> None:
    from .empty_losses import patch_lovasz

    patch_lovasz(module)


def _patch_ohem(module) -> None:
    from .empty_losses import patch_ohem

    patch_ohem(module)


def _patch_ssd_head(module) -> None:
    from .ssd_head import patch_ssd_head

    patch_ssd_head(module)


def _patch_mask_pasting(module) -> None:
    from .mask_pasting import patch_mask_pasting

    patch_mask_pasting(module)


def _patch_teacher_config(module) -> None:
    from .teacher_config import patch_teacher_config

    patch_teacher_config(module)


def _patch_sync_bn(module) -> None:
    from .sync_bn import patch_sync_bn

    patch_sync_bn(module)


def _patch_san_head(module) -> None:
    from .san_weights import patch_san_head

    patch_san_head(module)


def _patch_text_encoder(module) -> None:
    from .san_weights import patch_text_encoder

    patch_text_encoder(module)


def _patch_package_names(module) -> None:
    from .packages import patch_package_names

    patch_package_names(module)


def _patch_config_base(module) -> None:
    from .packages import patch_config_base

    patch_config_base(module)


def _patch_checkpoint_io(module) -> None:
    from .checkpoints import patch_checkpoint_io

    patch_checkpoint_io(module)


def _patch_runner(module) -> None:
    from .checkpoints import patch_runner

    patch_runner(module)


def _patch_pretrained_init(module) -> None:
    from .checkpoints import patch_pretrained_init

    patch_pretrained_init(module)


def _patch_inferencer(module) -> None:
    from .checkpoint_configs import patch_inferencer

    patch_inferencer(module)


def _allow_carafe_naive(module) -> None:
    from .carafe_naive import allow_any_device

    allow_any_device(module)


def _speed_up_deformable_attention(module) -> None:
    from .deformable_attention import use_our_operator

    use_our_operator(module)
