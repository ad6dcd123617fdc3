"""Upgrade ``data`` and ``evaluation``: dataloaders, datasets and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmattn.type_names import bare_name

from .notes import Notes
from .pipelines import PipelineUpgrade

_LOADER = {"samples_per_gpu": "batch_size", "workers_per_gpu": "num_workers"}
_LOADER_KEPT = ("persistent_workers", "pin_memory", "prefetch_factor", "drop_last")
#: Datasets of mmdet whose annotations are COCO's.
_COCO_LIKE = ("CocoDataset", "LVISV05Dataset", "LVISV1Dataset", "LVISDataset", "DeepFashionDataset")
#: Old arguments of a dataset -> key of ``data_prefix``.
_PREFIXES = {
    "mmdet": {"img_prefix": "img", "seg_prefix": "seg"},
    "mmseg": {"img_dir": "img_path", "ann_dir": "seg_map_path"},
}
_METAINFO = {"classes": "classes", "CLASSES": "classes", "palette": "palette"}
_KEPT = (
    *("type", "data_root", "test_mode", "reduce_zero_label", "ignore_index", "img_suffix"),
    *("seg_map_suffix", "times", "oversample_thr", "max_refetch", "return_classes", "lazy_init"),
)
#: What is said of a file of annotations that is a list.
_LISTS = "several files are several datasets in a ConcatDataset now"


class DataUpgrade:
    """Upgrades datasets and metrics of one config.

    Args:
        old: The whole old config.
        pipelines: Upgrades their pipelines.
        iterations: Whether the training counts iterations.
        notes: Receives what could not be translated.
    """

    def __init__(
        self, old: Mapping[str, Any], pipelines: PipelineUpgrade, iterations: bool, notes: Notes
    ) -> None:
        self.old = old
        self.data = dict(old.get("data") or {})
        self.pipelines = pipelines
        self.scope = pipelines.scope
        self.iterations = iterations
        self.notes = notes

    def loaders(self) -> dict[str, Any]:
        """Return today's dataloaders."""
        done: dict[str, Any] = {}
        for split in ("train", "val", "test"):
            dataset = self.data.get(split)
            if isinstance(dataset, Mapping):
                done[f"{split}_dataloader"] = self._loader(split, dataset)
            elif dataset is not None:
                self.notes.untranslated(f"data.{split}", dataset, _LISTS)
        known = {"train", "val", "test", *_LOADER, *_LOADER_KEPT}
        known |= {f"{split}_dataloader" for split in ("train", "val", "test")}
        self.notes.rest("data", self.data, known)
        return done

    def _loader(self, split: str, dataset: Mapping[str, Any]) -> dict[str, Any]:
        train = split == "train"
        own = dict(self.data.get(f"{split}_dataloader") or {})
        shared = {k: v for k, v in self.data.items() if k in _LOADER or k in _LOADER_KEPT}
        if not train:
            shared.pop("samples_per_gpu", None)  # one image, unless the split says otherwise
        given = {_LOADER.get(key, key): value for key, value in {**shared, **own}.items()}
        workers = given.get("num_workers", 2)
        loader: dict[str, Any] = {
            "batch_size": given.pop("batch_size", 1),
            "num_workers": given.pop("num_workers", workers),
            "persistent_workers": given.pop("persistent_workers", workers > 0),
            **given,
        }
        if not train and self.scope == "mmdet":
            loader.setdefault("drop_last", False)
        if train and self.iterations:
            loader["sampler"] = {"type": "InfiniteSampler", "shuffle": True}
        else:
            loader["sampler"] = {"type": "DefaultSampler", "shuffle": train}
        # mmdet's sampler grouped images by their aspect ratio by itself.
        if train and self.scope == "mmdet" and bare_name(dataset["type"]) != "MultiImageMixDataset":
            loader["batch_sampler"] = {"type": "AspectRatioBatchSampler"}
        loader["dataset"] = self._dataset(dataset, f"data.{split}", test=not train)
        return loader

    def _dataset(self, old: Mapping[str, Any], where: str, *, test: bool) -> dict[str, Any]:
        old = dict(old)
        new: dict[str, Any] = {"type": old.pop("type")}
        if "dataset" in old or "datasets" in old:
            return self._wrapper(new, old, where, test)
        if test and self.scope == "mmdet":
            new["test_mode"] = True
            old.pop("test_mode", None)
        prefixes = {
            key: old.pop(name) for name, key in _PREFIXES[self.scope].items() if old.get(name)
        }
        ann_file = old.pop("split", None) if self.scope == "mmseg" else old.pop("ann_file", None)
        if any(isinstance(one, (list, tuple)) for one in (ann_file, *prefixes.values())):
            self.notes.untranslated(f"{where}.ann_file", ann_file, _LISTS)
        root = old.pop("data_root", None)
        if root is None:
            root, ann_file, prefixes = self._below_root(ann_file, prefixes)
        if root is not None:
            new["data_root"] = root
        if ann_file is not None:
            new["ann_file"] = ann_file
        if prefixes:
            new["data_prefix"] = {
                k: self._folder(v) if isinstance(v, str) else v for k, v in prefixes.items()
            }
        meta = {_METAINFO[key]: old.pop(key) for key in list(old) if key in _METAINFO}
        if meta:
            new["metainfo"] = meta
        if self.scope == "mmdet" and not test:
            empty = old.pop("filter_empty_gt", True)
            new["filter_cfg"] = {
                "filter_empty_gt": empty,
                "min_size": old.pop("min_size", None) or 32,
            }
        else:
            old.pop("filter_empty_gt", None)
        if "pipeline" in old:
            new["pipeline"] = self.pipelines.upgrade(
                old.pop("pipeline"), f"{where}.pipeline", test=test
            )
        new.update({key: old.pop(key) for key in list(old) if key in _KEPT})
        self.notes.rest(where, old)
        return new

    def _wrapper(
        self, new: dict[str, Any], old: dict[str, Any], where: str, test: bool
    ) -> dict[str, Any]:
        if "pipeline" in old:
            steps = old.pop("pipeline")
            new["pipeline"] = self.pipelines.upgrade(steps, f"{where}.pipeline", test=False)
        if isinstance(old.get("dataset"), Mapping):
            new["dataset"] = self._dataset(old.pop("dataset"), f"{where}.dataset", test=test)
        if isinstance(old.get("datasets"), list):
            new["datasets"] = [
                self._dataset(one, f"{where}.datasets[{index}]", test=test)
                for index, one in enumerate(old.pop("datasets"))
            ]
        new.update({key: old.pop(key) for key in list(old) if key in _KEPT})
        self.notes.rest(where, old)
        return new

    def _below_root(
        self, ann_file: Any, prefixes: dict[str, Any]
    ) -> tuple[str | None, Any, dict[str, Any]]:
        """Take the folder that all paths begin with, ``data_root`` of the file, out of them."""
        root = self.old.get("data_root")
        paths = [one for one in (ann_file, *prefixes.values()) if one]
        below = isinstance(root, str) and all(
            isinstance(one, str) and one.startswith(root) for one in paths
        )
        if not below or not paths or not isinstance(root, str):
            return None, ann_file, prefixes
        cut = len(root)
        return root, ann_file and ann_file[cut:], {k: v[cut:] for k, v in prefixes.items()}

    def _folder(self, path: str) -> str:
        if self.scope == "mmseg" or not path:
            return path
        return path if path.endswith("/") else f"{path}/"

    def evaluators(self, evaluation: Mapping[str, Any]) -> dict[str, Any]:
        """Return today's metrics.

        Args:
            evaluation: ``evaluation`` of the old config.
        """
        done: dict[str, Any] = {}
        metrics = evaluation.get("metric")
        names = [metrics] if isinstance(metrics, str) else list(metrics or ())
        for split in ("val", "test"):
            dataset = self.data.get(split)
            if isinstance(dataset, Mapping):
                metric = self._metric(dataset, names, split)
                if metric is not None:
                    done[f"{split}_evaluator"] = metric
        return done

    def _metric(
        self, dataset: Mapping[str, Any], names: list[str], split: str
    ) -> dict[str, Any] | None:
        if self.scope == "mmseg":
            return {"type": "IoUMetric", "iou_metrics": names or ["mIoU"]}
        name = bare_name(dataset.get("type"))
        if name in _COCO_LIKE:
            wanted = names or ["bbox"]
            path = dataset.get("ann_file")
            return {
                "type": "CocoMetric",
                "ann_file": path,
                "metric": wanted[0] if len(wanted) == 1 else wanted,
                "format_only": False,
            }
        if name == "VOCDataset":
            return {"type": "VOCMetric", "metric": "mAP", "eval_mode": "11points"}
        self.notes.untranslated(f"data.{split}.type", name, "no metric is known for this dataset")
        return None
