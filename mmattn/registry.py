"""The registries of scope ``mmattn``; the only file that mmengine imports by itself.

mmengine swallows an ImportError raised here and reports "not in the registry" instead, so this file
imports mmengine and nothing heavier than the standard library. ``locations`` are imported at the
first look-up. Every registry has the plugins among them (``mmattn.projects._register``), so that a
system's assigner, transform, metric or hook can live in the system's folder.
"""

from __future__ import annotations

from mmengine import registry as _mmengine
from mmengine.registry import Registry

from .plugin_imports import ALL_PLUGINS, require_plugin_of

_SCOPE = "mmattn"


class PluginRegistry(Registry):
    """mmengine's registry, with an error that says why a plugin's name is missing."""

    def get(self, key: str) -> type | None:
        """Return what is registered as ``key``, as mmengine's ``Registry.get`` does.

        Raises:
            PluginError: ``key`` belongs to a plugin that cannot be imported.
        """
        scope, name = self.split_scope_key(key) if isinstance(key, str) else (None, key)
        if scope in (None, self.scope):
            self.import_from_location()
            if name not in self.module_dict:
                require_plugin_of(name)
        return super().get(key)


def _registry(parent: Registry, *rooms: str) -> Registry:
    """Return our child of mmengine's registry ``parent``; ``rooms`` are imported before plugins."""
    return PluginRegistry(parent.name, parent=parent, scope=_SCOPE, locations=[*rooms, ALL_PLUGINS])


MODELS = _registry(_mmengine.MODELS, "mmattn.models._register", "mmattn.plugins._register")
TASK_UTILS = _registry(_mmengine.TASK_UTILS)

DATASETS = _registry(_mmengine.DATASETS, "mmattn.data.datasets", "mmattn.boxes.dataset")
DATA_SAMPLERS = _registry(_mmengine.DATA_SAMPLERS, "mmattn.data.datasets")
TRANSFORMS = _registry(_mmengine.TRANSFORMS, "mmattn.data.transforms")

HOOKS = _registry(_mmengine.HOOKS, "mmattn.engine.hooks")
LOOPS = _registry(_mmengine.LOOPS)
METRICS = _registry(_mmengine.METRICS, "mmattn.evaluation._register")
OPTIM_WRAPPERS = _registry(_mmengine.OPTIM_WRAPPERS, "mmattn.engine.amp")
OPTIM_WRAPPER_CONSTRUCTORS = _registry(_mmengine.OPTIM_WRAPPER_CONSTRUCTORS, "mmattn.engine.optim")
OPTIMIZERS = _registry(_mmengine.OPTIMIZERS)
PARAM_SCHEDULERS = _registry(_mmengine.PARAM_SCHEDULERS, "mmattn.engine.optim")
VISUALIZERS = _registry(_mmengine.VISUALIZERS)
