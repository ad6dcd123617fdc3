"""Upgrade how a training goes: optimizer, learning rate, length, hooks, environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .notes import Notes

_BACKENDS = {
    "TensorboardLoggerHook": "TensorboardVisBackend",
    "WandbLoggerHook": "WandbVisBackend",
    "MMDetWandbHook": "WandbVisBackend",
    "MMSegWandbHook": "WandbVisBackend",
    "MlflowLoggerHook": "MLflowVisBackend",
    "ClearMLLoggerHook": "ClearMLVisBackend",
}
_VISUALIZERS = {"mmdet": "DetLocalVisualizer", "mmseg": "SegLocalVisualizer"}
_DRAWING = {"mmdet": "DetVisualizationHook", "mmseg": "SegVisualizationHook"}


class TrainingUpgrade:
    """Upgrades the schedule and the hooks of one config.

    Args:
        old: The whole old config.
        scope: ``mmdet`` or ``mmseg``.
        notes: Receives what could not be translated.
    """

    def __init__(self, old: Mapping[str, Any], scope: str, notes: Notes) -> None:
        self.old = old
        self.scope = scope
        self.notes = notes
        runner = dict(old.get("runner") or {})
        self.iterations = runner.get("type") == "IterBasedRunner" or "total_iters" in old
        key = "max_iters" if self.iterations else "max_epochs"
        self.length = runner.get(key, old.get(f"total_{key[4:]}"))
        notes.rest("runner", runner, ("type", "max_iters", "max_epochs"))

    def loops(self) -> dict[str, Any]:
        """Return the loops of training, validation and test."""
        interval = dict(self.old.get("evaluation") or {}).get("interval", 1)
        if self.iterations:
            train = {"type": "IterBasedTrainLoop", "max_iters": self.length}
        else:
            train = {"type": "EpochBasedTrainLoop", "max_epochs": self.length}
        train["val_interval"] = interval
        return {
            "train_cfg": train,
            "val_cfg": {"type": "ValLoop"},
            "test_cfg": {"type": "TestLoop"},
        }

    def optim_wrapper(self) -> dict[str, Any]:
        """Return the optimizer and what is around it."""
        optimizer = dict(self.old.get("optimizer") or {})
        config = dict(self.old.get("optimizer_config") or {})
        wrapper: dict[str, Any] = {"type": "OptimWrapper"}
        around = {k: optimizer.pop(k) for k in ("constructor", "paramwise_cfg") if k in optimizer}
        wrapper["optimizer"] = optimizer
        wrapper.update(around)
        hook = config.pop("type", None)
        clip = config.pop("grad_clip", None)
        if clip:
            wrapper["clip_grad"] = clip
        fp16 = self.old.get("fp16")
        if fp16 is not None or hook in ("Fp16OptimizerHook",):
            scale = (fp16 or {}).get("loss_scale", config.pop("loss_scale", 512.0))
            wrapper["type"], wrapper["loss_scale"] = "AmpOptimWrapper", scale
        if "cumulative_iters" in config:
            wrapper["accumulative_counts"] = config.pop("cumulative_iters")
        elif hook not in (None, "OptimizerHook", "Fp16OptimizerHook"):
            self.notes.untranslated("optimizer_config.type", hook, "hooks are optim_wrapper now")
        self.notes.rest("optimizer_config", config)
        return wrapper

    def schedules(self) -> list[dict[str, Any]]:
        """Return the schedules of the learning rate."""
        config = dict(self.old.get("lr_config") or {})
        policy = config.pop("policy", None)
        by_epoch = config.pop("by_epoch", True)
        warmup = {k: config.pop(k) for k in list(config) if k.startswith("warmup")}
        known = {
            "step": self._step,
            "poly": self._poly,
            "CosineAnnealing": self._cosine,
            "CosineAnealing": self._cosine,
            "YOLOX": self._yolox,
            "fixed": lambda *_: [],
        }
        if policy is None:
            return []
        if policy not in known:
            self.notes.untranslated("lr_config.policy", policy, "write it as param_scheduler")
            self.notes.rest("lr_config", {**config, **warmup})
            return []
        if policy == "YOLOX":
            found = self._yolox(config, warmup)
        else:
            found = [*self._warmup(warmup), *known[policy](config, by_epoch, warmup)]
        self.notes.rest("lr_config", config)
        return found

    def _warmup(self, warmup: dict[str, Any]) -> list[dict[str, Any]]:
        kind = warmup.get("warmup")
        if kind is None:
            return []
        if kind not in ("linear", "constant"):
            self.notes.untranslated("lr_config.warmup", kind, "write it as param_scheduler")
            return []
        by_epoch = bool(warmup.get("warmup_by_epoch"))
        ratio = warmup.get("warmup_ratio", 0.1)
        head = {"type": "LinearLR", "start_factor": ratio}
        if kind == "constant":
            head = {"type": "ConstantLR", "factor": ratio}
        end = warmup.get("warmup_iters", 0)
        return [{**head, "by_epoch": by_epoch, "begin": 0, "end": end}]

    def _begin(self, by_epoch: bool, warmup: dict[str, Any]) -> int:
        """Return where a falling schedule begins; a warm-up in other units runs beside it."""
        if by_epoch != bool(warmup.get("warmup_by_epoch")) or warmup.get("warmup") is None:
            return 0
        return warmup.get("warmup_iters", 0)

    def _step(self, config: dict, by_epoch: bool, warmup: dict) -> list[dict[str, Any]]:
        step = config.pop("step", [])
        gamma = config.pop("gamma", 0.1)
        if isinstance(step, int):
            step = list(range(step, int(self.length or 0), step))
        return [
            {
                "type": "MultiStepLR",
                "begin": 0,
                "end": self.length,
                "by_epoch": by_epoch,
                "milestones": list(step),
                "gamma": gamma,
            }
        ]

    def _poly(self, config: dict, by_epoch: bool, warmup: dict) -> list[dict[str, Any]]:
        return [
            {
                "type": "PolyLR",
                "eta_min": config.pop("min_lr", 0.0),
                "power": config.pop("power", 1.0),
                "begin": self._begin(by_epoch, warmup),
                "end": self.length,
                "by_epoch": by_epoch,
            }
        ]

    def _cosine(self, config: dict, by_epoch: bool, warmup: dict) -> list[dict[str, Any]]:
        begin = self._begin(by_epoch, warmup)
        return [
            {
                "type": "CosineAnnealingLR",
                "eta_min": self._least(config),
                "begin": begin,
                "T_max": (self.length or 0) - begin,
                "end": self.length,
                "by_epoch": by_epoch,
            }
        ]

    def _least(self, config: dict[str, Any]) -> float:
        ratio = config.pop("min_lr_ratio", None)
        least = config.pop("min_lr", 0.0)
        lr = dict(self.old.get("optimizer") or {}).get("lr", 0.0)
        return lr * ratio if ratio is not None else (least or 0.0)

    def _yolox(self, config: dict[str, Any], warmup: dict[str, Any]) -> list[dict[str, Any]]:
        """Return YOLOX's schedule: a quadratic warm-up, half a cosine, and a constant end."""
        start, last = warmup.get("warmup_iters", 0), config.pop("num_last_epochs", 0)
        end = (self.length or 0) - last
        common = {"by_epoch": True}
        cosine = {
            "type": "CosineAnnealingLR",
            "eta_min": self._least(config),
            "begin": start,
            "T_max": end,
            "end": end,
            **common,
            "convert_to_iter_based": True,
        }
        found: list[dict[str, Any]] = [cosine]
        if warmup.get("warmup"):
            first = {"type": "mmdet.QuadraticWarmupLR", **common, "begin": 0, "end": start}
            found.insert(0, {**first, "convert_to_iter_based": True})
        if last:
            final = {"type": "ConstantLR", **common, "factor": 1, "begin": end, "end": self.length}
            found.append(final)
        return found

    def hooks(self) -> dict[str, Any]:
        """Return default hooks, own hooks and the visualizer."""
        checkpoint = {"type": "CheckpointHook", **dict(self.old.get("checkpoint_config") or {})}
        best = dict(self.old.get("evaluation") or {}).get("save_best")
        if best:
            is_coco = self.scope == "mmdet" and str(best).startswith(("bbox_", "segm_"))
            checkpoint["save_best"] = f"coco/{best}" if is_coco else best
        if self.iterations:
            checkpoint.setdefault("by_epoch", False)
        log = dict(self.old.get("log_config") or {})
        logger: dict[str, Any] = {"type": "LoggerHook", "interval": log.get("interval", 50)}
        if self.iterations:
            logger["log_metric_by_epoch"] = False
        return {
            "default_hooks": {
                "timer": {"type": "IterTimerHook"},
                "logger": logger,
                "param_scheduler": {"type": "ParamSchedulerHook"},
                "checkpoint": checkpoint,
                "sampler_seed": {"type": "DistSamplerSeedHook"},
                "visualization": {"type": _DRAWING[self.scope]},
            },
            **self._own_hooks(),
            "visualizer": self._visualizer(log),
            "log_processor": {
                "type": "LogProcessor",
                "window_size": 50,
                "by_epoch": not self.iterations,
            },
        }

    def _visualizer(self, log: Mapping[str, Any]) -> dict[str, Any]:
        backends = [{"type": "LocalVisBackend"}]
        for index, hook in enumerate(log.get("hooks") or ()):
            name, rest = hook.get("type"), {k: v for k, v in hook.items() if k != "type"}
            if name == "TextLoggerHook":
                continue
            if name not in _BACKENDS:
                why = "write it as a backend of the visualizer"
                self.notes.untranslated(f"log_config.hooks[{index}]", hook, why)
                continue
            backend: dict[str, Any] = {"type": _BACKENDS[name]}
            if rest.pop("init_kwargs", None) is not None:
                backend["init_kwargs"] = hook["init_kwargs"]
            self.notes.rest(f"log_config.hooks[{index}]", rest)
            backends.append(backend)
        return {
            "type": _VISUALIZERS[self.scope],
            "vis_backends": backends,
            "name": "visualizer",
        }

    def _own_hooks(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        for index, hook in enumerate(self.old.get("custom_hooks") or ()):
            hook, where = dict(hook), f"custom_hooks[{index}]"
            name = hook.get("type")
            if name in ("NumClassCheckHook", "CheckInvalidLossHook", "SetEpochInfoHook"):
                self.notes.dropped(where, hook, "mmattn checks this itself, or nothing needs it")
            elif name in ("ExpMomentumEMAHook", "LinearMomentumEMAHook"):
                found.append(self._average(hook, where))
            elif name == "SyncNormHook":
                found.append({k: v for k, v in hook.items() if k in ("type", "priority")})
            else:
                found.append(hook)
        return {"custom_hooks": found} if found else {}

    def _average(self, hook: dict[str, Any], where: str) -> dict[str, Any]:
        done: dict[str, Any] = {"type": "EMAHook", "ema_type": hook["type"].removesuffix("Hook")}
        known = ("type", "momentum", "resume_from", "priority")
        done["momentum"] = hook.get("momentum", 0.0002)
        done["update_buffers"] = True
        if "priority" in hook:
            done["priority"] = hook["priority"]
        self.notes.rest(where, hook, known)
        return done

    def environment(self) -> dict[str, Any]:
        """Return what is around a run: processes, weights to begin with, log level."""
        backend = dict(self.old.get("dist_params") or {}).get("backend", "nccl")
        env = {
            "cudnn_benchmark": bool(self.old.get("cudnn_benchmark", self.scope == "mmseg")),
            "mp_cfg": {
                "mp_start_method": self.old.get("mp_start_method", "fork"),
                "opencv_num_threads": self.old.get("opencv_num_threads", 0),
            },
            "dist_cfg": {"backend": backend},
        }
        resumed = self.old.get("resume_from")
        flow = self.old.get("workflow")
        if flow is not None and [tuple(one) for one in flow] != [("train", 1)]:
            self.notes.untranslated("workflow", flow, "validation is val_cfg and val_interval now")
        done = {
            "default_scope": self.scope,
            "env_cfg": env,
            "log_level": self.old.get("log_level", "INFO"),
            "load_from": resumed or self.old.get("load_from"),
            "resume": bool(resumed),
        }
        kept = ("auto_scale_lr", "find_unused_parameters", "custom_imports", "work_dir")
        done |= {key: self.old[key] for key in kept if key in self.old}
        if "auto_scale_lr" in done:
            done["auto_scale_lr"] = {"enable": False, **done["auto_scale_lr"]}
        if self.old.get("seed") is not None:
            done["randomness"] = {"seed": self.old["seed"]}
        return done
