"""Command lines: ``mmattn COMMAND``, ``python -m mmattn COMMAND`` and ``python tools/COMMAND.py``.

One file per command, with ``main(argv, prog)``. Nothing heavy is imported before the arguments are
read, so that help and mistakes are answered at once.
"""

from __future__ import annotations

#: Verb, the name of its module here -> what it does, in one line.
COMMANDS = {
    "train": "train any config of mmdet, mmseg or mmattn",
    "test": "test a checkpoint",
    "predict": "detect objects in images and videos, or segment them",
    "export": "export a trained model to ONNX or OpenVINO, checked against torch",
    "check_data": "check a config, its data and its model without training",
    "config": "work on configs: a JSON schema for editors",
    "explain": "show what a prediction rests on: attention, gates and gradient maps",
    "slots": "list every place of a model where a block can be inserted",
    "compare": "compare attention blocks in one network on equal terms",
    "compare_runs": "put finished trainings side by side",
    "report": "write a report on a trained and exported model",
    "replay": "repeat a training step whose numbers were not finite",
    "convert_checkpoint": "convert a checkpoint of another project",
    "publish": "strip a checkpoint to its weights and class names, with a digest in its name",
    "make_shapes": "write the generated shapes dataset",
}
