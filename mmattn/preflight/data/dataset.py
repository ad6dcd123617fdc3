"""Check the dataset of a dataloader as its config describes it, without its pipeline."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmattn.boxes import BoxRecords, Finding
from mmattn.boxes.coco_content import check_content, read_content, refuse_form
from mmattn.boxes.coco_rules import doubts
from mmattn.data.archives import refuse_archive
from mmattn.data.confine import refuse_outside
from mmattn.data.dataset_probe import lazy_dataset, located
from mmattn.data.files import check_place, endings, is_remote, refuse_missing, why_missing
from mmattn.data.record import RECORD, read_record
from mmattn.errors import DataError, one_line
from mmattn.images import evenly
from mmattn.type_names import bare_name

from .box_sizes import below_stride, sized_objects
from .boxes import check_objects
from .coco import (
    RecordingCocoReader,
    check_instance_masks,
    check_names,
    why_empty,
)
from .faults import FaultyFiles
from .images import ImageLoader, check_images
from .masks import MaskRules, check_masks, check_read_masks
from .panoptic import check_panoptic
from .pipeline import check_pipeline_on
from .stock_masks import stock_reader
from .stored import KeepEntries, objects_of_records, stored_objects

logger = logging.getLogger("mmattn")

_HEADERS = 2000
_DECODED = 16
_MASKS = 200


@dataclass
class DatasetReport:
    """Findings in one dataset.

    Attributes:
        where: Config key, such as ``train_dataloader.dataset``.
        cls: Class name of the dataset.
        metainfo: Metainfo of the dataset; ``classes`` may be missing.
        entries: Number of images in it.
        counts: Class name -> pixels in the masks looked at, or instances.
        unit: What ``counts`` counts: ``"pixels"``, ``"instances"`` or ``""``.
        looked_at: What was read (headers, masks) -> how many.
        notes: What the dataset found out by itself.
        warnings: What is doubtful about the annotations but no error.
        findings: The same with every place, as far as a dataset tells it.
        images_with: Class name -> images that hold an object of it.
        images: Paths of the images.
        root: Folder of the dataset; empty where it has none.
        files: Paths of all files that the dataset reads: annotations, images, masks and maps.
    """

    where: str
    cls: str
    metainfo: dict[str, Any]
    entries: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    unit: str = ""
    looked_at: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    images_with: dict[str, int] = field(default_factory=dict)
    images: tuple[str, ...] = field(default=(), repr=False)
    root: str = ""
    files: tuple[str, ...] = field(default=(), repr=False)

    def add(self, findings: Iterable[Finding]) -> None:
        """Add what is doubtful, and log it."""
        for finding in findings:
            self.findings += (finding,)
            self.warnings += (str(finding),)
            logger.warning("%s: %s", self.where, finding)

    def table(self, *, warnings: bool = True) -> str:
        """Return a short text table: class, count, share.

        Args:
            warnings: Whether the warnings, which the check has logged, are in it.
        """
        looked = ", ".join(_counted(count, what) for what, count in self.looked_at.items())
        images = _counted(self.entries, "images")
        lines = [f"{self.where} ({self.cls}): {images}; looked at {looked or 'none'}"]
        lines += [f"  {note}" for note in self.notes]
        lines += [f"  warning: {warning}" for warning in self.warnings if warnings]
        total = sum(self.counts.values()) or 1
        width = max(map(len, self.counts), default=0)
        for name, count in self.counts.items():
            seen = self.images_with.get(name)
            inside = "" if seen is None else f"  in {seen:>7} image{'s' if seen != 1 else ''}"
            unit = self.unit[:-1] if count == 1 and self.unit else self.unit
            share = f"{count / total:6.1%}"
            lines.append(f"  {name:{width}}  {count:>12} {unit:{len(self.unit)}}  {share}{inside}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return what was found as plain data; every finding has all of its places."""
        told = {str(finding) for finding in self.findings}
        return {
            "dataset": self.where,
            "type": self.cls,
            "classes": list(map(str, self.metainfo.get("classes") or ())),
            "images": self.entries,
            "unit": self.unit,
            "counts": dict(self.counts),
            "images_with": dict(self.images_with),
            "looked_at": dict(self.looked_at),
            "notes": list(self.notes),
            "findings": [
                *(finding.to_json() for finding in self.findings),
                *({"check": "", "text": w, "places": []} for w in self.warnings if w not in told),
            ],
        }


def _unused_copy_paste(
    entries: Sequence[Any], steps: Sequence[Mapping[str, Any]]
) -> tuple[Finding, ...]:
    """Return what is said of copy-paste where no object has a mask that could be pasted."""
    pasting = [step for step in steps if bare_name(step.get("type")) == "FlipCopyPaste"]
    if not any(step.get("prob", 1) for step in pasting):
        return ()
    objects = [
        item
        for entry in entries
        if isinstance(entry, Mapping)
        for item in entry.get("instances") or ()
    ]
    if not objects or any(item.get("mask") for item in objects):
        return ()
    return (
        Finding(
            "copy-paste-without-masks",
            "FlipCopyPaste in the pipeline pastes nothing: no object has a mask, as polygons or "
            "run lengths",
        ),
    )


def _counted(count: int, plural: str) -> str:
    return f"{count} {plural if count != 1 else plural.removesuffix('s')}"


def check_dataset(
    cfg: Mapping,
    where: str,
    *,
    ignored: Sequence[int] = (),
    full: bool = False,
    stride: int | None = None,
    steps: Sequence[Mapping[str, Any]] = (),
) -> DatasetReport:
    """Check one dataset (not a wrapper; see ``leaf_datasets``).

    Existence is checked of all files; the headers of at most 2000 images and the values of at
    most 200 masks are read, spread evenly; 16 images and all unusual ones among those are loaded by
    the pipeline's own transform, and images of unusual shapes are sent through all of it.

    Args:
        cfg: Config of the dataset.
        where: Config key of the dataset, used in messages.
        ignored: Labels that the model's losses ignore beside 255.
        full: Read every header and mask, and load every image.
        stride: Smallest stride of the head's grids, which boxes are compared with.
        steps: Steps of the dataset's pipeline, and of those of its wrappers behind them.

    Returns:
        What was found.

    Raises:
        DataError: The data is wrong; the message names the first fault, its file and the fix, and
            the other faulty files among those looked at.
        ConfigError: The dataset cannot be built.
    """
    root = cfg.get("data_root")
    if isinstance(root, str):
        refuse_archive(root, f"{where}.data_root")
    if isinstance(root, str) and not os.path.isfile(root):  # some datasets take one file
        check_place(root, f"{where}.data_root", folder=True)
    dataset = lazy_dataset(cfg, where)
    if dataset is None:
        return DatasetReport(where, str(cfg.get("type")), {})
    if hasattr(dataset, "check_pipeline"):  # it was built without
        with located(where):
            dataset.check_pipeline(cfg.get("pipeline") or ())
    report = DatasetReport(where, type(dataset).__name__, dict(dataset.metainfo))
    report.notes = tuple(getattr(dataset, "notes", ()))
    if not _is_local(dataset):
        return report
    record = read_record(root) if isinstance(root, str) and os.path.isdir(root) else None
    if record is not None:
        report.notes += (f"{RECORD}: {record.sentence()}",)
    _check_places(dataset, where)
    _refuse_pickles(dataset, where)
    entries, warnings = _load(dataset, where, cfg)
    report.entries, report.warnings = len(entries), tuple(warnings)
    for warning in warnings:
        logger.warning("%s: %s", where, warning)
    report.add(getattr(dataset, "findings", ()))
    records = getattr(dataset, "records", None)
    if isinstance(records, BoxRecords) and len(records.images) > len(entries):
        left = len(records.images) - len(entries)
        report.notes += (f"left out by filter_cfg={dict(dataset.filter_cfg or {})}: {left} images",)
    report.images = tuple(e["img_path"] for e in entries if _is_image_entry(e))
    report.root = getattr(dataset, "data_root", None) or ""
    report.files = _files_of(dataset, entries, records)
    if not isinstance(records, BoxRecords) and not hasattr(dataset, "mask_reader"):
        _refuse_outside(dataset, entries, where)
    if stride:
        classes = tuple(map(str, report.metainfo.get("classes") or ()))
        small = below_stride(sized_objects(entries, records), classes, steps, stride)
        report.add([small] if small else ())
    report.add(_unused_copy_paste(entries, steps))

    loaders = {
        bare_name(t.get("type")): t for t in cfg.get("pipeline") or () if isinstance(t, Mapping)
    }
    if "LoadImageFromFile" not in loaders or not all(map(_is_image_entry, entries)):
        return report  # volumes, videos, arrays: their own transforms know them
    refuse_missing((e["img_path"] for e in entries), "images", where)
    loader = ImageLoader(loaders["LoadImageFromFile"], getattr(dataset, "bit_depth", None), where)
    faults = FaultyFiles(where)
    found = check_images(
        entries,
        loader,
        faults,
        headers=None if full else _HEADERS,
        loaded=None if full else _DECODED,
    )
    report.looked_at["headers"] = found.headers
    report.notes += found.notes
    try:
        _check_labels(dataset, entries, loaders, loader, ignored, full, report, faults)
    except DataError:
        faults.refuse()  # with the masks among them; what is wrong with all of these comes next
        raise
    faults.refuse()
    sizes = [(index, loader.size(entries[index]["img_path"])) for index in found.thin]
    check_pipeline_on(dataset, cfg["pipeline"], sizes, where)
    return report


def _check_labels(
    dataset: Any,
    entries: list[dict],
    loaders: Mapping[str, Mapping],
    images: ImageLoader,
    ignored: Sequence[int],
    full: bool,
    report: DatasetReport,
    faults: FaultyFiles,
) -> None:
    """Check masks, panoptic maps and instances, whatever the pipeline loads."""
    where, classes = report.where, tuple(report.metainfo.get("classes") or ())
    limit = None if full else _MASKS
    with_maps = [e for e in entries if e.get("seg_map_path")]
    if "LoadPanopticAnnotations" in loaders and with_maps:
        refuse_missing((e["seg_map_path"] for e in with_maps), "panoptic maps", where)
        report.looked_at["panoptic maps"] = check_panoptic(
            with_maps,
            stock_reader(loaders["LoadPanopticAnnotations"], dataset, where),
            images.size,
            where,
            limit,
        )
    elif hasattr(dataset, "mask_reader") and with_maps:
        pixels = check_read_masks(
            with_maps, dataset.mask_reader, images.size, classes, faults, limit
        )
        report.looked_at["masks"] = len(evenly(len(with_maps), limit))
        report.unit = "pixels"
        report.counts = {name: pixels.get(i, 0) for i, name in enumerate(classes)}
    elif "LoadAnnotations" in loaders and with_maps:
        refuse_missing((e["seg_map_path"] for e in with_maps), "masks", where)
        if classes and "label_map" in with_maps[0]:
            rules = _mask_rules(dataset, with_maps[0], loaders["LoadAnnotations"], classes, ignored)
            read = stock_reader(loaders["LoadAnnotations"], dataset, where)
            pixels = check_masks(with_maps, read, images.size, rules, faults, limit)
            report.looked_at["masks"] = len(evenly(len(with_maps), limit))
            report.unit = "pixels"
            report.counts = {name: pixels.get(i, 0) for i, name in enumerate(classes)}
    if loaders.get("LoadAnnotations", {}).get("with_mask"):
        check_instance_masks(entries, where)
    if classes and any(e.get("instances") for e in entries) and not report.unit:
        report.unit = "instances"
        report.counts = dict.fromkeys(classes, 0)
        report.images_with = dict.fromkeys(classes, 0)
        for entry in entries:
            labels = [instance.get("bbox_label", -1) for instance in entry["instances"]]
            names = [classes[label] for label in labels if 0 <= label < len(classes)]
            for name in names:
                report.counts[name] += 1
            for name in set(names):
                report.images_with[name] += 1


def _mask_rules(
    dataset: Any, entry: Mapping, loader: Mapping, classes: tuple[str, ...], ignored: Sequence[int]
) -> MaskRules:
    reduce_zero_label = bool(entry.get("reduce_zero_label", False))
    asked = loader.get("reduce_zero_label")
    if asked is not None and bool(asked) != reduce_zero_label:
        reduce_zero_label = bool(asked)
    extra = {getattr(dataset, "ignore_index", 255), *ignored}
    return MaskRules(
        classes=classes,
        ignored=frozenset({255, *(v for v in extra if isinstance(v, int))}),
        reduce_zero_label=reduce_zero_label,
        label_map=entry.get("label_map"),
    )


def _load(dataset: Any, where: str, cfg: Mapping) -> tuple[list[dict], list[str]]:
    """Return the entries of the dataset, read by its own code, and warnings about its objects."""
    ann_file = getattr(dataset, "ann_file", "") or ""
    keep = None
    if hasattr(dataset, "COCOAPI"):
        masks = _loads_masks(cfg)
        keep = RecordingCocoReader(dataset.COCOAPI, where, ann_file, masks=masks)
        keep.check_before()
        dataset.COCOAPI = keep
    kept = KeepEntries(dataset)
    if hasattr(dataset, "serialize_data"):
        dataset.serialize_data = False  # entries stay readable, nothing is pickled
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the COCO reader prints
            dataset.full_init()
    except DataError:
        raise
    except (
        Exception
    ) as error:  # whatever a reader stumbles over is the file's fault or the config's
        content = read_content(ann_file)
        if content is not None:
            if keep is not None:
                refuse_form(content["annotations"], keep.form, f"{where}: {ann_file}")
            check_content(content, f"{where}: {ann_file}")
        if keep is not None and keep.names:
            label_of = getattr(dataset, "cat2label", {})
            check_names(
                keep.names, label_of, _classes(dataset), where, ann_file, keep.objects_by_name()
            )
        source = f"{ann_file} ({kept.last_source})" if kept.last_source else ann_file or where
        raise DataError(_cannot_read(source, where, error)) from error
    if keep is not None and keep.names:
        label_of = dataset.cat2label
        check_names(
            keep.names, label_of, _classes(dataset), where, ann_file, keep.objects_by_name()
        )
    warnings = _check_objects(dataset, keep, kept, where, ann_file)
    if keep is not None and keep.content is not None:
        warnings += doubts(keep.content, masks=_loads_masks(cfg))
    if not len(dataset):
        raise DataError(f"{where}: no image is left to use. {_why_empty(dataset, keep, cfg)}")
    return list(dataset.data_list), warnings


def _loads_masks(cfg: Mapping) -> bool:
    """Return whether the pipeline of a dataset loads instance masks."""
    steps = (step for step in cfg.get("pipeline") or () if isinstance(step, Mapping))
    return any(step.get("with_mask") for step in steps)


def _check_objects(
    dataset: Any, keep: RecordingCocoReader | None, kept: KeepEntries, where: str, ann_file: str
) -> list[str]:
    """Count the objects of the annotation files against those that the dataset uses."""
    with_objects = any(isinstance(e, Mapping) and "instances" in e for e in kept.entries)
    if not with_objects or not all(map(_is_image_entry, kept.entries)):
        return []
    classes = _classes(dataset)
    records = getattr(dataset, "records", None)
    if isinstance(records, BoxRecords):
        objects = objects_of_records(records)
        return check_objects(objects, (), where, box_format=records.box_format, told=True)
    content = None
    if keep is not None and keep.coco is not None:
        content = keep.content
    elif hasattr(dataset, "cat2label"):  # LVIS' reader is another one, of the same format
        content = read_content(ann_file)
        if content is not None:
            check_content(content, f"{where}: {ann_file}")
    stated = "[x1, y1, x2, y2]"
    if content is not None or kept.raw:
        stated = "[x, y, width, height]"
    elif any("xml_path" in entry for entry in kept.entries[:1]):
        stated = "[xmin, ymin, xmax, ymax]"
    declared = [category["name"] for category in (content or {}).get("categories", ())]
    try:
        objects = stored_objects(kept, classes, content)
        return check_objects(objects, classes, where, box_format=stated, known_names=declared)
    except DataError as error:
        if str(error).startswith(where):
            raise
        raise DataError(f"{where}: {error}") from error


def _why_empty(dataset: Any, keep: RecordingCocoReader | None, cfg: Mapping) -> str:
    ann_file = getattr(dataset, "ann_file", "")
    if keep is not None and keep.coco is not None:
        return f"{ann_file} has {why_empty(keep.coco, dataset.cat2label, cfg.get('filter_cfg'))}"
    records = getattr(dataset, "records", None)
    if isinstance(records, BoxRecords):
        objects = sum(len(image.objects) for image in records.images)
        return (
            f"{dataset.summary}. filter_cfg={cfg.get('filter_cfg')} left none of "
            f"{len(records.images)} images with {objects} objects"
        )
    folder = (getattr(dataset, "data_prefix", None) or {}).get("img_path") or ""
    suffix = getattr(dataset, "img_suffix", None)
    if not ann_file and suffix and os.path.isdir(folder):
        return (
            f"{folder} holds {endings(folder)}, img_suffix={suffix!r}: set img_suffix to what the "
            "images end with"
        )
    return f"Its list is {ann_file!r}, its images are looked for in {folder!r}"


def _cannot_read(ann_file: str, where: str, error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{where}: {ann_file} is not valid JSON ({error}): it may have been cut off"
    if isinstance(error, KeyError):
        return (
            f"{where}: {ann_file} has an entry without {error}: it is not the annotation format "
            "that this dataset reads"
        )
    missing = error.filename if isinstance(error, FileNotFoundError) else None
    if isinstance(missing, str) and not is_remote(missing):
        return (
            f"{where}: {ann_file} asks for {missing}, which does not exist. {why_missing(missing)}"
        )
    return f"{where}: {ann_file} cannot be read: {one_line(error)}"


def _check_places(dataset: Any, where: str) -> None:
    """Check that annotation file and folders exist, as the dataset joined them with its root."""
    ann_file = getattr(dataset, "ann_file", "")
    if isinstance(ann_file, str) and not os.path.isdir(ann_file):
        check_place(ann_file, f"{where}.ann_file", folder=False)
    prefixes = getattr(dataset, "data_prefix", None) or {}
    for key, path in prefixes.items():
        if isinstance(path, str) and not path.endswith(("_", "-")):
            check_place(path, f"{where}.data_prefix.{key}", folder=True)


def _refuse_pickles(dataset: Any, where: str) -> None:
    """Refuse annotations that would be unpickled, which runs what they contain."""
    for key in ("ann_file", "split_file", "proposal_file", "hierarchy_file", "label_file"):
        path = getattr(dataset, key, None)
        if isinstance(path, str) and path.lower().endswith((".pkl", ".pickle", ".p")):
            raise DataError(
                f"{where}.{key}={path!r} is a pickle, which runs what it contains when it is read: "
                "save it as JSON where it was made (mmengine.dump(content, 'NAME.json')), and set "
                f"{key} to that"
            )


def _files_of(dataset: Any, entries: Sequence[Any], records: Any) -> tuple[str, ...]:
    """Return the files that a dataset reads and that are there."""
    found: dict[str, None] = {}
    ann_file = getattr(dataset, "ann_file", "")
    sources = [image.source for image in records.images] if records is not None else []
    for path in (ann_file, *sources):
        if isinstance(path, str) and os.path.isfile(path):
            found[path] = None
    for entry in entries:
        for key, value in entry.items() if isinstance(entry, Mapping) else ():
            if isinstance(value, str) and key.endswith("_path") and os.path.isfile(value):
                found[value] = None
    return tuple(found)


def _refuse_outside(dataset: Any, entries: Sequence[Any], where: str) -> None:
    """Refuse files that the annotations name outside of the folders that the config names."""
    prefixes = getattr(dataset, "data_prefix", None) or {}
    places = [getattr(dataset, "data_root", "") or "", *prefixes.values()]
    tops = [place for place in places if isinstance(place, str) and place]
    # Some prefixes are the beginning of names.
    tops = [os.path.dirname(t) if t.endswith(("_", "-")) else t for t in tops]
    ann_file = getattr(dataset, "ann_file", "")
    source = f"{where}: {ann_file}" if isinstance(ann_file, str) and ann_file else where
    paths = (
        value
        for entry in entries
        if isinstance(entry, Mapping)
        for key, value in entry.items()
        if isinstance(value, str) and (key.endswith("_path") or key == "file_name")
    )
    refuse_outside(paths, tops, source)


def _is_local(dataset: Any) -> bool:
    """Return whether the files are on this machine's file system."""
    backend = getattr(dataset, "backend_args", None) or {}
    if backend.get("backend", "local") not in ("local", "LocalBackend"):
        return False
    prefixes = (getattr(dataset, "data_prefix", None) or {}).values()
    places = [getattr(dataset, "data_root", ""), getattr(dataset, "ann_file", ""), *prefixes]
    return not any(isinstance(place, str) and is_remote(place) for place in places)


def _is_image_entry(entry: Any) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("img_path"), str)


def _classes(dataset: Any) -> tuple[str, ...]:
    return tuple(dataset.metainfo.get("classes") or ())
