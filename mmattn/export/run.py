"""Export a model of a config, from its checkpoint to files that were checked against torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.errors import ExportError, MMAttnError
from mmattn.io import atomic_write
from mmattn.tasks import task_of

from .checked_files import parity_path, set_aside
from .formats import find_format

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

    from .detection_accuracy import AccuracyPair
    from .metadata import ExportMetadata
    from .parity import ParityReport


@dataclass(frozen=True)
class ExportResult:
    """The files of an export.

    Attributes:
        files: The exported files; for OpenVINO the ONNX file, the graph and its weights.
        parity_file: JSON file of the parity report.
        parity: Report of the check, which was passed.
        metadata: Metadata of the files.
    """

    files: tuple[Path, ...]
    parity_file: Path
    parity: ParityReport
    metadata: ExportMetadata


def export(
    config: str | Path,
    checkpoint: str | Path,
    *,
    format: str = "onnx",
    out: str | Path | None = None,
    shape: tuple[int, int] | None = None,
    dynamic: bool = False,
    output: str | None = None,
    fuse: bool = True,
    allow_partial: bool = False,
    opset: int | None = None,
    deform_conv: str = "grid_sample",
    images: Sequence[str | Path] = (),
    annotations: str | Path | None = None,
    num_images: int = 4,
    sizes: Sequence[tuple[int, int]] = (),
    tolerance: float | None = None,
    min_agreement: float | None = None,
    parity_file: str | Path | None = None,
    calibration_images: Sequence[str | Path] = (),
    cfg_options: Mapping[str, Any] | None = None,
    command: str = "",
    log: Callable[[str], None] = lambda text: None,
) -> ExportResult:
    """Export a trained model and check on real images that the file computes what torch computes.

    Args:
        config: Config: a path, or a name such as ``mmseg::...`` or ``mmattn::...``.
        checkpoint: Weights of that config's model.
        format: Format to write, a key of ``mmattn.export.FORMATS``.
        out: File to write; by default beside the checkpoint, under its name.
        shape: Height and width to trace at; by default those of the config (``default_shape``).
        dynamic: Leave batch, height and width free.
        output: Form of the output, ``"logits"`` (the default) or ``"classes"`` for segmentation,
            ``"nms"`` (the default), ``"decoded"`` or ``"raw"`` for detection.
        fuse: Export the fused model where the network has one (``mmattn.layers.fuse``).
        allow_partial: Accept a checkpoint that leaves weights of the model random.
        opset: ONNX opset; by default ``formats.onnx.DEFAULT_OPSET``, or the first that has the
            form of ``deform_conv``.
        deform_conv: Form of deformable convolutions: ``"grid_sample"``, which every runtime has,
            or ``"deform_conv"``, one node each, from opset 19 on.
        images: Images and folders to check on; by default the config's validation set.
        annotations: COCO annotations of ``images``; the AP of a detector is then compared on all
            images that have annotations.
        num_images: Number of images to check on.
        sizes: Further sizes (height, width) to check at; they need ``dynamic``.
        tolerance: Largest difference of logits allowed, relative to the largest logit; by default
            ``parity.TOLERANCE``.
        min_agreement: Smallest share of equal results allowed; by default
            ``parity.MIN_AGREEMENT``.
        parity_file: Where the report of the check goes; by default ``NAME.parity.json`` beside
            ``out``, ``NAME.onnx``.
        calibration_images: Images and folders; if given, the file is quantised to int8 on them,
            into ``NAME.int8.onnx``, and its metric is reported beside the float32 file's: mAP on
            ``annotations``, which it then needs, or mIoU on the config's validation set.
        cfg_options: Settings of the config to override, dotted keys.
        command: Command line that asked for the export, for the report.
        log: Function that is called with each line of progress.

    Returns:
        The files and the report of a check that was passed.

    Raises:
        ConfigError: The config is not there or wrong.
        CheckpointError: The weights cannot be read or do not belong to the model.
        DataError: There are no images to check on.
        ExportError: The format, the model or a size cannot be exported, or the file computes
            something else; the message then holds the table of the check, and the files are renamed
            (``checked_files.py``).
    """
    # Refuse before anything heavy is imported.
    row = find_format(format)
    out = file_to_write(out, checkpoint, row.name, row.suffix)
    if sizes and not dynamic:
        raise ExportError("sizes to check need dynamic=True: a file of one size takes no other")

    if calibration_images and row.name != "onnx":
        raise ExportError("int8 is written as ONNX: leave --format openvino out")

    from mmattn.config import load_config
    from mmattn.inference import build_model
    from mmattn.layers.fuse import fuse as fuse_model

    from .check_images import read_images, stated_bit_depth, validation_images
    from .formats.onnx import export_onnx, opset_for
    from .int8 import Int8Report, quantize
    from .parity import MIN_AGREEMENT, TOLERANCE, add_accuracy, check_parity
    from .preparation import find_test_pad
    from .resize_step import describe_resize, find_test_resize
    from .summary import files_table, next_steps, size_in_words

    opset = opset_for(deform_conv, opset)
    cfg = load_config(config, cfg_options)
    if annotations is not None and (task_of(cfg).prediction != "pred_instances" or output == "raw"):
        raise ExportError("annotations are for detectors, and not for the form raw")
    detects = task_of(cfg).prediction == "pred_instances"
    if calibration_images and task_of(cfg).prediction == "pred_panoptic_seg":
        raise ExportError(
            "int8 is reported with mIoU or AP before and after, and panoptic quality is measured "
            "of models in torch alone: leave --int8 and --calibration-images out"
        )
    if calibration_images and detects and annotations is None:
        raise ExportError(
            "int8 of a detector is reported with its AP before and after: give --annotations, COCO "
            "annotations of --images"
        )
    if images:
        arrays = read_images(images, limit=num_images, bit_depth=stated_bit_depth(cfg))
    else:
        arrays = validation_images(cfg, limit=num_images)
    model = build_model(cfg, checkpoint, allow_partial=allow_partial)
    shape = shape or default_shape(cfg)

    log(f"tracing {type(model).__name__} at {shape[0]} x {shape[1]} …")
    begin = time.perf_counter()
    onnx_file = out.with_suffix(".onnx") if row.name == "openvino" else out
    metadata = export_onnx(
        fuse_model(model) if fuse else model,
        onnx_file,
        shape=shape,
        dynamic=dynamic,
        output=output,
        opset=opset,
        deform_conv=deform_conv,
        test_resize=find_test_resize(cfg),
        test_pad=find_test_pad(cfg),
        bit_depth=stated_bit_depth(cfg),
        config=Path(config).name,
        checkpoint=Path(checkpoint).name,
    )
    seconds = time.perf_counter() - begin
    log(
        f"wrote {onnx_file}, {size_in_words(onnx_file)}, opset {metadata.opset}, in {seconds:.1f} s"
    )
    selection = metadata.postprocess or {}
    if selection.get("limit_added"):
        log(
            "the config's test_cfg has no max_per_img; the file returns the "
            f"{selection['max_per_image']} best detections of an image"
        )
    files, converted = [onnx_file], []
    if row.name == "openvino":
        from .formats.openvino import convert_to_openvino

        log("converting to OpenVINO …")
        convert_to_openvino(onnx_file, out)
        weights = out.with_suffix(".bin")
        log(f"wrote {out}, {size_in_words(out)}, and {weights}, {size_in_words(weights)}")
        files += [out, weights]
        converted.append(out)

    parity_file = Path(parity_file or parity_path(out))
    try:
        report = check_parity(
            model,
            onnx_file,
            arrays,
            tolerance=TOLERANCE if tolerance is None else tolerance,
            min_agreement=MIN_AGREEMENT if min_agreement is None else min_agreement,
            json_path=parity_file,
            converted=converted,
            sizes=sizes,
            command=command,
            log=log,
        )
        if annotations is not None:
            log(f"measuring AP on the images of {annotations} …")
            written = [part.file for part in report.files]
            pairs = measure_accuracy(model, cfg, written, images, annotations)
            report = add_accuracy(report, pairs, parity_file)
    except MMAttnError as error:
        raise type(error)(f"{error}\n{set_aside(files)}") from error
    except BaseException:  # Ctrl-C, too: a file under its own name has passed
        set_aside(files)
        raise
    if calibration_images:
        int8_file = onnx_file.with_suffix(".int8.onnx")
        calibration = read_images(calibration_images, bit_depth=stated_bit_depth(cfg))
        log(f"quantising on {len(calibration)} images, and measuring the file …")
        layers = quantize(onnx_file, int8_file, calibration, metadata)
        count, before, after = _measure_int8(
            *(model, cfg, onnx_file, int8_file), images=images, annotations=annotations
        )
        sizes_of_files = (file.stat().st_size for file in (onnx_file, int8_file))
        metric = "mAP" if detects else "mIoU"
        int8 = Int8Report(
            *(str(int8_file), len(calibration), layers, metric, count, before, after),
            *sizes_of_files,
        )
        report = replace(report, int8=int8)
        with atomic_write(parity_file) as file:
            file.write(report.to_json().encode())
        log(f"wrote {int8_file}, {size_in_words(int8_file)}")
        files.append(int8_file)
    for part in report.files:
        log(f"torch against {part.runtime}:\n{part.table()}")
    log(f"wrote {parity_file}")
    if metadata.test_resize:
        log(
            f"resize images {describe_resize(metadata.test_resize)} first, as the test pipeline "
            "does; this is not in the file"
        )
    log(f"\n{files_table(files, report)}")
    for line in next_steps(out, metadata.shape, dynamic=metadata.dynamic):
        log(line)
    return ExportResult(tuple(files), parity_file, report, metadata)


def measure_accuracy(
    model: nn.Module,
    cfg: Config,
    files: Sequence[str | Path],
    images: Sequence[str | Path],
    annotations: str | Path,
) -> list[AccuracyPair]:
    """Measure a detector in torch and in files, from image files on, and return a pair for each.

    Args:
        model: Detector in eval mode.
        cfg: Its config, whose test pipeline prepares images for torch.
        files: Exported files.
        images: Image files and folders.
        annotations: COCO annotations of the images.

    Raises:
        DataError: The annotations cannot be used.
        ExportError: A file cannot be run on the images.
    """
    from mmattn.inference.images import TestPipeline
    from mmattn.inference.torch_predictors import TorchDetector

    from .detection_accuracy import AccuracyPair, AnnotatedImages
    from .predictors import load_predictor

    detector = TorchDetector(model, TestPipeline(cfg))
    data = AnnotatedImages(annotations, images, detector.classes)
    in_torch = data.average_precision(lambda file: detector.predict_file(file)[0])
    pairs = []
    for path in files:
        exported = load_predictor(path)  # boxes, or the boxes around masks
        in_file = data.average_precision(lambda file, run=exported: run.predict_file(file)[0])
        pairs.append(AccuracyPair(len(data), in_torch, in_file))
    return pairs


def _measure_int8(
    model: nn.Module,
    cfg: Config,
    before: Path,
    after: Path,
    *,
    images: Sequence[str | Path],
    annotations: str | Path | None,
) -> tuple[int, float, float]:
    """Return the number of images and the metric, 0 to 1, of two files."""
    if annotations is not None:
        from .detection_accuracy import AnnotatedImages
        from .predictors import load_predictor

        detectors = [load_predictor(path) for path in (before, after)]
        data = AnnotatedImages(annotations, images, detectors[0].classes)
        first, second = (
            data.average_precision(lambda file, run=run: run.predict_file(file)[0])["mAP"]
            for run in detectors
        )
        return len(data), first, second
    from .accuracy import class_ious, exported_predictor
    from .exported_model import load_exported
    from .validation_set import validation_pairs

    exported = [load_exported(path) for path in (before, after)]
    pairs = validation_pairs(cfg)
    first, second = (
        class_ious(exported_predictor(file, model), pairs, file.metadata.classes).mean / 100
        for file in exported
    )
    return len(pairs), first, second


def default_shape(cfg: Config) -> tuple[int, int]:
    """Return (height, width) that the model was trained on.

    It is the data preprocessor's ``size``, else ``crop_size`` of the config, else, for detectors,
    the size that the test pipeline makes of an image, rounded up to what the model pads to, else
    512 x 512.
    """
    size = (cfg.model.get("data_preprocessor") or {}).get("size") or cfg.get("crop_size")
    if isinstance(size, int):
        size = (size, size)
    if size:
        return tuple(size)
    if task_of(cfg).prediction in ("pred_instances", "pred_panoptic_seg"):
        return _test_shape(cfg) or (512, 512)
    return 512, 512


def _test_shape(cfg: Config) -> tuple[int, int] | None:
    """Return (height, width) of images after the test's resizing and padding; None if unknown."""
    from .preparation import find_test_pad, padded_size
    from .resize_step import find_test_resize

    scale = (find_test_resize(cfg) or {}).get("scale")
    if not scale:
        return None
    size = int(scale[1]), int(scale[0])
    for step in find_test_pad(cfg) or ():
        size = size if "type" in step else padded_size(size, step)
    return size


def file_to_write(out: str | Path | None, checkpoint: str | Path, format: str, suffix: str) -> Path:
    """Return ``out``, or the checkpoint's name with the format's ending.

    Args:
        out: File that was asked for.
        checkpoint: Checkpoint that is exported.
        format: Name of the format, used in messages.
        suffix: Ending of the format's files.

    Raises:
        ExportError: ``out`` has the ending of another format.
    """
    path = Path(out or Path(checkpoint).with_suffix(suffix))
    if (path.suffix == ".xml") != (suffix == ".xml"):
        raise ExportError(f"--out {path}: the name of a file of format {format} ends in {suffix}")
    return path
