"""Command lines: ``mmattn COMMAND``, ``python -m mmattn COMMAND`` and ``python tools/COMMAND.py``.

One file per command, with ``main(argv, prog)``. Nothing heavy is imported before the arguments are
read, so that help and mistakes are answered at once.
"""

from __future__ import annotations

#: Heading of the help -> verb, the name of its module here -> what it does, in one line.
GROUPS: dict[str, dict[str, str]] = {
    "train and use a model": {
        "models": "list the models that are known by name",
        "train": "train any config of mmdet, mmseg or mmattn",
        "test": "test a checkpoint",
        "predict": "detect objects in images and videos, or segment them",
        "explain": "show what a prediction rests on: attention, gates and gradient maps",
        "export": "export a trained model to ONNX or OpenVINO, checked against torch",
    },
    "compare and measure": {
        "slots": "list every place of a model where a block can be inserted",
        "compare": "compare attention blocks in one network on equal terms",
        "benchmark": "measure parameters, operations, time and memory, or the speed of the data",
    },
    "configs and data": {
        "check": "check a config, its data and its model without training",
        "config": "work on configs: show, explain, compare, judge, upgrade; a schema for editors",
        "data": "work on datasets: prepare public ones by name, browse samples, draw shapes",
    },
    "weights": {
        "weights": "fetch weights by name, list, verify and bundle them for other machines",
        "convert": "convert a checkpoint of another project",
        "publish": "strip a checkpoint to its weights and class names, with a digest in its name",
    },
    "runs": {
        "report": "write the report of a run, of runs side by side, or of a checkpoint",
        "replay": "repeat a training step whose numbers were not finite",
    },
    "this installation": {
        "upstream": "run a script of mmdet's or mmseg's tools, such as confusion_matrix",
        "doctor": "show versions, packages, operators and GPUs, and what is broken",
        "completion": "print a script by which bash, zsh or fish completes mmattn",
    },
}
#: Verb -> what it does.
COMMANDS = {verb: text for group in GROUPS.values() for verb, text in group.items()}
#: Verb of before -> the words that say the same now.
RENAMED = {
    "check_data": ("check",),
    "compare_runs": ("report",),
    "convert_checkpoint": ("convert",),
    "make_shapes": ("data", "shapes"),
}
