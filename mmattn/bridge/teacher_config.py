"""Lets mmdet's knowledge distillation find its teacher's config in an installed mmdet.

Its configs name the teacher's by a path of mmdet's repository, ``configs/gfl/....py``. mmdet looks
there, and beside its package; pip puts configs into the package's ``.mim``.
"""

from __future__ import annotations

import functools
from pathlib import Path
from types import ModuleType
from typing import Any

from mmattn.errors import ConfigError


def patch_teacher_config(kd_one_stage: ModuleType) -> None:
    """Have ``KnowledgeDistillationSingleStageDetector`` look into ``.mim`` as well, once."""
    detector = kd_one_stage.KnowledgeDistillationSingleStageDetector
    original = detector.__init__
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def init(
        self, backbone: Any, neck: Any, bbox_head: Any, teacher_config: Any, *args, **kwargs
    ) -> None:
        if isinstance(teacher_config, (str, Path)):
            teacher_config = find_teacher_config(teacher_config)
        original(self, backbone, neck, bbox_head, teacher_config, *args, **kwargs)

    detector.__init__ = init


def find_teacher_config(teacher_config: str | Path) -> Path:
    """Return the file behind ``teacher_config``.

    Args:
        teacher_config: Path from the working folder, or from mmdet's repository.

    Raises:
        ConfigError: There is no such file in either place.
    """
    import mmdet

    package = Path(mmdet.__file__).parent
    for folder in (Path(), package.parent, package / ".mim"):
        if (folder / teacher_config).is_file():
            return folder / teacher_config
    raise ConfigError(
        f"teacher_config={str(teacher_config)!r}: there is no such file, neither from the working "
        f"folder nor in {package / '.mim'}"
    )
