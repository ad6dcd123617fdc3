"""Keep datasets of mmdet and mmseg from unpickling their annotation files."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from mmattn.errors import DataError

#: Modules of datasets that read annotation files with ``mmengine.fileio.load``.
READERS = (
    *("mmengine.dataset.base_dataset", "mmdet.datasets.base_det_dataset"),
    *("mmdet.datasets.crowdhuman", "mmdet.datasets.openimages", "mmseg.datasets.decathlon"),
)
_PICKLES = (".pkl", ".pickle")


def refuse_annotation_pickles(module: ModuleType) -> None:
    """Make a module of datasets refuse annotation files that are pickles, before they are read."""
    plain_load = getattr(module, "load", None)
    if plain_load is None:  # another version reads its files otherwise
        return

    def load(file: Any, file_format: str | None = None, **kwargs: Any) -> Any:
        refuse_pickle(file, file_format)
        return plain_load(file, file_format=file_format, **kwargs)

    module.load = load


def refuse_pickle(file: Any, file_format: str | None = None) -> None:
    """Refuse a file that mmengine would unpickle.

    Raises:
        DataError: It is one by its ending or by ``file_format``.
    """
    is_pickle = str(file).lower().endswith(_PICKLES) if file_format is None else False
    if is_pickle or file_format in ("pkl", "pickle"):
        raise DataError(
            f"{file} is a pickle, which runs what it contains when it is read: save the "
            "annotations as JSON where they were made (mmengine.dump(content, 'NAME.json')), and "
            "set ann_file to that"
        )
