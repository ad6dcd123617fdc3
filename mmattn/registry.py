"""The registries of scope ``mmattn``; the only file that mmengine imports by itself.

mmengine swallows an ImportError raised here and reports "not in the registry" instead, so this file
imports mmengine and nothing else. ``locations`` are imported at the first look-up.
"""

from mmengine import registry as _mmengine
from mmengine.registry import Registry

_SCOPE = "mmattn"

MODELS = Registry(
    "model",
    parent=_mmengine.MODELS,
    scope=_SCOPE,
    locations=["mmattn.models._register", "mmattn.plugins._register", "mmattn.projects"],
)
DATASETS = Registry(
    "dataset", parent=_mmengine.DATASETS, scope=_SCOPE, locations=["mmattn.data.datasets"]
)
TRANSFORMS = Registry(
    "transform", parent=_mmengine.TRANSFORMS, scope=_SCOPE, locations=["mmattn.data.datasets"]
)
DATA_SAMPLERS = Registry(
    "data sampler",
    parent=_mmengine.DATA_SAMPLERS,
    scope=_SCOPE,
    locations=["mmattn.data.datasets"],
)
METRICS = Registry(
    "metric", parent=_mmengine.METRICS, scope=_SCOPE, locations=["mmattn.evaluation._register"]
)
HOOKS = Registry("hook", parent=_mmengine.HOOKS, scope=_SCOPE, locations=["mmattn.engine.hooks"])
OPTIM_WRAPPERS = Registry(
    "optim_wrapper",
    parent=_mmengine.OPTIM_WRAPPERS,
    scope=_SCOPE,
    locations=["mmattn.engine.amp"],
)
