"""Names for what is drawn of the images of a test, one for each image of all its folders."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from mmattn.inference.prediction_files import output_names


def drawn_names(dataset: Any) -> dict[str, Path]:
    """Return each image of a dataset -> the path, without ending, of what is drawn of it.

    As ``predict`` names its results: by the image's name or, where two images share one, by the
    sub-folders as well; see ``output_names``. Images of one folder that differ in their ending
    alone keep it: ``a.jpg`` and ``a.png``. Every process of a distributed test, which sees a part
    of the images, finds the same names.

    Args:
        dataset: Dataset of a test; wrappers are looked through.

    Returns:
        ``img_path`` of each image -> relative path; empty for a dataset that does not list images.
    """
    listed = getattr(dataset, "get_data_info", None)
    infos = (listed(index) for index in range(len(dataset))) if listed else ()
    files = list(dict.fromkeys(info["img_path"] for info in infos if info.get("img_path")))
    names = output_names([Path(file) for file in files])
    counts = Counter(names.values())
    return {
        file: name if counts[name] == 1 else name.with_name(Path(file).name)
        for file, name in ((file, names[Path(file)]) for file in files)
    }


def drawn_file(folder: Path, names: dict[str, Path], image: str, ending: str) -> Path:
    """Return the file for what is drawn of an image; its folder is there.

    Args:
        folder: Folder of all that is drawn.
        names: As of ``drawn_names``.
        image: Path of the image.
        ending: Ending of the file, with its dot.
    """
    name = names.get(image, Path(Path(image).stem))
    path = folder / name.parent / f"{name.name}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
