"""A task as plain data: the facts that configs, checks, training and prediction need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TestTimeAugmentation:
    """Test-time augmentation for configs that bring none: the image and its mirror image.

    Attributes:
        model: Config of the model that averages over the copies.
        pack: Name of the packing step that ends a test pipeline.
        pack_options: Arguments that the packing step needs so that each copy can be undone.
        annotations_per_copy: Whether ground truth is loaded behind the flip, because it is compared
            in the image's own orientation.
    """

    __test__ = False  # pytest: no test class

    model: Mapping[str, Any]
    pack: str
    pack_options: Mapping[str, Any] = field(default_factory=dict)
    annotations_per_copy: bool = False


@dataclass(frozen=True)
class TaskReport:
    """Where the report on a run of a task comes from, by the names of modules.

    Attributes:
        measurement: Module whose ``measure_run`` measures a run and returns the data of its report.
        pages: Package whose ``write_markdown_report`` and ``write_html_report`` write it.
        exported: How ``measure_run`` takes an exported file: ``exported_file``, its path,
            or ``exported``, opened; ``""`` where none can be measured.
    """

    measurement: str
    pages: str
    exported: str = ""


@dataclass(frozen=True)
class Task:
    """One task in the conventions of one package; type names are bare, without scope.

    Attributes:
        name: Name of the task, for messages.
        scope: Package whose conventions the other fields follow: ``mmseg`` or ``mmdet``.
        heads: Regular expressions of the keys, below the model, of heads whose ``num_classes``
            counts the dataset's classes.
        heads_of_other_counts: Heads among these whose ``num_classes`` counts something else.
        metrics: Upstream's metric, as (scope, name) -> our metric that takes the same options.
        default_metric: Last part of the name of the metric that runs are compared by.
        other_metrics: Last parts of the names of metrics that are shown beside it.
        annotation_loaders: Steps of a pipeline that load ground truth.
        target_steps: Steps of a training pipeline that derive targets of losses from it.
        folder_dataset: Dataset that reads any folder of this task; None where there is none.
        folder_loader: Step that takes the place of ``annotation_loaders`` for that dataset; None
            where they stay.
        folder_targets: What that dataset is asked for: ``boxes``, ``masks`` or ``panoptic``; None
            for a dataset that knows one sort of target alone.
        prediction: Field of a predicted data sample that holds the result.
        visualizer: Visualizer of the package.
        visualization_hook: Hook that hands predictions to the visualizer.
        show_dir: Where the folder for drawn predictions is set: ``visualizer`` or ``hook``, and
            the option there.
        dump_metric: Metric that writes all predictions into one ``.pkl`` file.
        label_map_metrics: Metrics that write predictions as maps -> options to set for it.
        label_map_option: Option of these metrics that says where.
        tta: Test-time augmentation; None where results cannot be averaged yet.
        training_only: Prefixes of the names of weights that only training needs.
        insertable_parts: Parts of the model in which blocks can be inserted.
        compilable_parts: Parts of the model that are functions of tensors.
        report: Report on a run; None where there is none.
    """

    name: str
    scope: str
    heads: tuple[str, ...]
    default_metric: str
    annotation_loaders: tuple[str, ...]
    prediction: str
    visualizer: str
    visualization_hook: str
    show_dir: tuple[str, str]
    dump_metric: str
    compilable_parts: tuple[str, ...]
    insertable_parts: tuple[str, ...] = ("backbone", "neck")
    other_metrics: tuple[str, ...] = ()
    heads_of_other_counts: tuple[str, ...] = ()
    metrics: Mapping[tuple[str | None, str], str] = field(default_factory=dict)
    target_steps: tuple[str, ...] = ()
    folder_dataset: str | None = None
    folder_loader: str | None = None
    folder_targets: str | None = None
    label_map_metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    label_map_option: str = "output_dir"
    tta: TestTimeAugmentation | None = None
    training_only: tuple[str, ...] = ()
    report: TaskReport | None = None
