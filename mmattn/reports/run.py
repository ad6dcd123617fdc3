"""The data of a report that do not depend on the task: names, curves, cost, commands, machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: File in the folder of a start of a training: the command line that was typed.
COMMAND_FILE = "command.txt"


@dataclass(frozen=True)
class Step:
    """Something that was run.

    Attributes:
        title: Purpose of the step.
        command: Command line as one would type it, or "".
        seconds: Wall time, or None if it is not known.
    """

    title: str
    command: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class ModelSize:
    """Size of a network.

    Attributes:
        parameters: Number of parameters.
        flops: Operations of one forward pass, 2 per multiply-add.
        input_shape: (N, C, H, W) of that pass.
    """

    parameters: int
    flops: int
    input_shape: tuple[int, int, int, int]


@dataclass(kw_only=True)
class Run:
    """A run of any task. All fields but the first may be left out.

    Attributes:
        title: Head line.
        summary: Sentence or two below the title.
        num_images: Number of validation images behind the results.
        scalars: ``scalars.json`` files that mmengine wrote, oldest first.
        validation_axis: Unit of a validation step in these files, ``epoch`` or ``iteration``.
        training_minutes: Wall time of the training, validations included.
        size: Size of the network.
        steps: What was run, in order.
        environment: Tables of names and values (``mmattn.environment.collect_env``).
        notes: Sentences for the end of the page.
    """

    title: str
    summary: str = ""
    num_images: int | None = None
    scalars: Sequence[Path] = ()
    validation_axis: str = "iteration"
    training_minutes: float | None = None
    size: ModelSize | None = None
    steps: Sequence[Step] = ()
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def image_count(self) -> str:
        """The number of validation images with its noun."""
        if self.num_images is None:
            return "the validation images"
        return f"{self.num_images} validation image{'' if self.num_images == 1 else 's'}"
