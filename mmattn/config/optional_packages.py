"""Name the optional packages that a config needs and this installation lacks, before a build.

mmdet and mmseg import such packages where they use them: some parts fail with an AttributeError of
``None`` in the middle of a training, some with "Failed to import custom modules". The table says
what each registered type needs; it imports nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError, MissingPackageError, MMAttnError

from .walk import walk

if TYPE_CHECKING:
    from mmengine.config import Config

_STABLE_DIFFUSION = (
    "diffusers git+https://github.com/CompVis/stable-diffusion.git "
    "git+https://github.com/CompVis/taming-transformers.git"
)
# Its build imports the torch that is installed, which an isolated build does not see.
_DETECTRON2 = "--no-build-isolation git+https://github.com/facebookresearch/detectron2.git"
# Import name -> what pip is asked for.
_INSTALL = {
    "albumentations": "'albumentations<2'",
    "cityscapesscripts": "cityscapesscripts",
    "d_cube": "ddd-dataset",
    "detectron2": _DETECTRON2,
    "dsdl": "dsdl",
    "fairscale": "fairscale",
    "instaboostfast": "instaboostfast",
    "jsonlines": "jsonlines",
    "lap": "lap",
    "ldm": _STABLE_DIFFUSION,
    "lvis": "lvis",
    "mmpretrain": "'mmattn[mmpretrain]'",
    "osgeo": "gdal",
    "pycocoevalcap": "pycocoevalcap",
    "sklearn": "scikit-learn",
    "trackeval": "trackeval",
    "transformers": "'transformers==4.53.3'",
}
# Types of mmdet and mmseg -> what they import when they are built or used.
_NEEDED_BY_TYPE: dict[str, tuple[str, ...]] = {
    "ATSSVLFusionHead": ("transformers",),
    "Albu": ("albumentations",),
    "BaseReID": ("mmpretrain",),
    "BertModel": ("transformers",),
    "ByteTracker": ("lap",),
    "COCOCaptionMetric": ("pycocoevalcap",),
    "CityScapesMetric": ("cityscapesscripts",),
    "CityscapesMetric": ("cityscapesscripts",),
    "DODDataset": ("d_cube",),
    "DSDLDetDataset": ("dsdl",),
    "DSDLSegDataset": ("dsdl",),
    "Detectron2Wrapper": ("detectron2",),
    "DumpODVGResults": ("jsonlines",),
    "InstaBoost": ("instaboostfast",),
    "LVISDataset": ("lvis",),
    "LVISFixedAPMetric": ("lvis",),
    "LVISMetric": ("lvis",),
    "LVISV05Dataset": ("lvis",),
    "LVISV1Dataset": ("lvis",),
    "LinearReIDHead": ("mmpretrain",),
    "LoadSingleRSImageFromFile": ("osgeo",),
    "MOTChallengeMetric": ("trackeval",),
    "OCSORTTracker": ("lap",),
    "ReIDDataPreprocessor": ("mmpretrain",),
    "VPD": ("ldm",),
}
# Backends of mmengine's visualizer -> what they log with.
_NEEDED_BY_BACKEND = {
    "AimVisBackend": "aim",
    "ClearMLVisBackend": "clearml",
    "DVCLiveVisBackend": "dvclive",
    "MLflowVisBackend": "mlflow",
    "NeptuneVisBackend": "neptune",
    "TensorboardVisBackend": "tensorboard",
    "WandbVisBackend": "wandb",
}
# Heads whose losses alone import something: they predict without it.
_NEEDED_BY_LOSS: dict[str, tuple[str, ...]] = {"LADHead": ("sklearn",), "PAAHead": ("sklearn",)}
_SCOPES = ("mmdet", "mmseg")
# Scopes of registries that are packages of their own.
_SCOPE_PACKAGES = ("mmpretrain",)


@dataclass(frozen=True)
class Need:
    """One optional package that a part of a config needs.

    Attributes:
        path: Dotted path of the part in the config.
        type_name: Type or setting of the part; empty if the path says it all.
        module: Import name of the package.
    """

    path: str
    type_name: str
    module: str

    @property
    def part(self) -> str:
        """The part of the config, with its type."""
        return f"{self.path} ({self.type_name})" if self.type_name else self.path

    @property
    def install(self) -> str:
        """Requirement that pip is asked for, such as ``scikit-learn``."""
        return _INSTALL.get(self.module, self.module)


def packages_of_types() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return what pip is asked for and the types that need it, by import name of the package."""
    needed = {**_NEEDED_BY_TYPE, **_NEEDED_BY_LOSS}
    return {
        module: (install, tuple(name for name, modules in needed.items() if module in modules))
        for module, install in _INSTALL.items()
    }


def require_packages(cfg: Config, splits: Sequence[str] = ()) -> None:
    """Check that the optional packages that a config needs can be imported.

    Args:
        cfg: Whole config.
        splits: Splits whose data and metrics are used as well, of ``train``, ``val`` and ``test``.
            The model is always checked, its losses with ``train``.

    Raises:
        MissingPackageError: One is not installed; the message names all of them with the parts
            that need them, and the line that installs them.
    """
    missing = missing_packages(cfg, splits)
    if missing:
        where = f"{cfg.filename}: " if cfg.filename else ""
        names = ", ".join(need.module for need in missing)
        raise MissingPackageError(where + describe(missing), name=names)


def missing_packages(cfg: Config, splits: Sequence[str] = ()) -> list[Need]:
    """Return those of ``needed_packages`` that are not installed."""
    return [need for need in needed_packages(cfg, splits) if not _is_installed(need.module)]


def needed_packages(cfg: Config, splits: Sequence[str] = ()) -> list[Need]:
    """Return the optional packages that a config needs, installed or not; each is named once.

    Args:
        cfg: Whole config.
        splits: Splits whose data and metrics are used as well.
    """
    needs: dict[str, Need] = {}
    for need in _needs(cfg, splits):
        needs.setdefault(need.module, need)
    return list(needs.values())


def describe(needs: Sequence[Need]) -> str:
    """Return what is missing, which part needs it, and the line that installs it."""
    parts = [f"{need.part} needs {need.module!r}" for need in needs]
    verb = "which is not installed" if len(needs) == 1 else "which are not installed"
    return f"{', '.join(parts)}, {verb}. To install: {install_line(needs)}"


def install_line(needs: Iterable[Need]) -> str:
    """Return the command that installs ``needs``."""
    return f"pip install {' '.join(need.install for need in needs)}"


def explain_custom_imports(error: ImportError, filename: str) -> MMAttnError | None:
    """Return why ``custom_imports`` of a config failed; None for other errors.

    mmengine says that the import failed, and leaves out which package is not installed.

    Args:
        error: What reading the config raised.
        filename: Path of the config, used in the message.
    """
    if "custom modules" not in str(error):
        return None
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ModuleNotFoundError):
        cause = cause.__cause__ or cause.__context__
    if cause is None or not cause.name:
        return None
    package = cause.name.partition(".")[0]
    if package in _INSTALL:
        message = describe([Need("custom_imports", "", package)])
        return MissingPackageError(f"{filename}: {message}", name=package)
    return ConfigError(
        f"{filename}: custom_imports needs the module {cause.name!r}, which cannot be found. "
        "Correct its name, install its package, or put the folder that holds it on PYTHONPATH."
    )


def _needs(cfg: Config, splits: Sequence[str]) -> Iterator[Need]:
    keys = ["model"]
    for split in splits:
        keys += [f"{split}_dataloader", f"{split}_evaluator"]
    for key in keys:
        for path, value in walk(cfg.get(key), key):
            if isinstance(value, Mapping):
                yield from _needs_of(path, value, trains="train" in splits)
    if splits:
        yield from _needs_of_trackers(cfg)


def _needs_of_trackers(cfg: Config) -> Iterator[Need]:
    for path, value in walk(cfg.get("visualizer"), "visualizer"):
        type_name = value.get("type") if isinstance(value, Mapping) else None
        module = _NEEDED_BY_BACKEND.get(str(type_name).rpartition(".")[2])
        if module is not None:
            yield Need(path, str(type_name), module)


def _needs_of(path: str, part: Mapping[str, Any], *, trains: bool) -> Iterator[Need]:
    type_name = part.get("type")
    if not isinstance(type_name, str):
        type_name = getattr(type_name, "__name__", "")
    scope, _, name = type_name.rpartition(".")
    if scope in _SCOPE_PACKAGES:
        yield Need(path, type_name, scope)
    if not scope or scope in _SCOPES:
        by_loss = _NEEDED_BY_LOSS.get(name, ()) if trains else ()
        for module in (*_NEEDED_BY_TYPE.get(name, ()), *by_loss):
            yield Need(path, type_name, module)
    checkpointed = part.get("num_cp")
    if isinstance(checkpointed, int) and checkpointed > 0:
        yield Need(path, f"num_cp={checkpointed}", "fairscale")
    if part.get("use_gsi") is True:
        yield Need(path, "use_gsi=True", "sklearn")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
