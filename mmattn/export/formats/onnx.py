"""Write a model as one ONNX file of standard operators.

torch.export traces the model, torch.onnx (onnxscript) translates, onnxslim simplifies,
onnx.checker checks; what is left must be operators of ONNX's default domain, so that any runtime
can load the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

import mmattn
from mmattn.errors import ExportError, did_you_mean
from mmattn.io import atomic_write
from mmattn.ops import export_deform_conv_as
from mmattn.quiet import quiet

from ..metadata import ExportMetadata
from ..size_divisor import find_size_divisor
from ..tasks import task_to_export
from .onnx_selection import translations
from .rewrites import DECOMPOSITIONS, sizes_stay_symbolic

if TYPE_CHECKING:
    import onnx

    from ..tasks.exportable import ExportableModel

DEFAULT_OPSET = 18
#: Forms of a deformable convolution -> the first opset that has it.
DEFORM_CONV_FORMS = {"grid_sample": 16, "deform_conv": 19}
STANDARD_DOMAINS = ("", "ai.onnx")
# Their progress notes and deprecation warnings are not the user's business.
_EXPORTERS = ("torch.onnx", "onnxscript", "onnx_ir")
INPUT_AXES = {"images": {0: "batch", 2: "height", 3: "width"}}


def export_onnx(
    model: nn.Module,
    path: str | Path,
    *,
    shape: tuple[int, int],
    dynamic: bool = False,
    output: str | None = None,
    opset: int | None = None,
    deform_conv: str = "grid_sample",
    test_resize: dict[str, Any] | None = None,
    test_pad: list[dict[str, Any]] | None = None,
    bit_depth: int | None = None,
    config: str = "",
    checkpoint: str = "",
) -> ExportMetadata:
    """Write ``model`` to ``path`` as ONNX.

    Args:
        model: Model of a task in ``mmattn.export.tasks``; it is put into eval mode for the trace.
        path: Path of the file; it appears only when it is complete and checked.
        shape: (height, width) to trace at.
        dynamic: Leave batch, height and width free.
        output: Form of the output, one that the task has; for semantic segmentation ``"logits"``,
            the default, or ``"classes"`` for the label map; for detection ``"nms"``, the default,
            ``"decoded"`` or ``"raw"``.
        opset: ONNX opset; by default ``DEFAULT_OPSET``, or the first that has ``deform_conv``.
        deform_conv: Form of deformable convolutions: ``"grid_sample"``, operators that every
            runtime has, or ``"deform_conv"``, one DeformConv node each (opset 19).
        test_resize: Resizing of the config's test pipeline (``find_test_resize``), for the
            metadata.
        test_pad: Padding of the test pipeline and the model (``find_test_pad``), for the metadata.
        bit_depth: Bits in use of images that have more than 8, for the metadata.
        config: Name of the config, for the metadata.
        checkpoint: Name of the checkpoint, for the metadata.

    Returns:
        The metadata written into the file.

    Raises:
        ExportError: The model is not exportable, does not run at ``shape``, cannot be traced with
            free sizes, or needs an operator that is not standard ONNX.
    """
    opset = opset_for(deform_conv, opset)
    onnx = _import_onnx()
    was_training = model.training
    task = task_to_export(model)
    wrapper = task.wrap(model, output or task.outputs[0]).eval()
    try:
        divisor = wrapper.size_divisor
        if dynamic:
            divisor = find_size_divisor(task, model, shape, at_least=divisor)
        _require_multiple(shape, divisor)
        with export_deform_conv_as(deform_conv, in_programs=deform_conv == "deform_conv"):
            program = _trace(wrapper, shape, dynamic, divisor)
        proto = _translate(program, opset, list(wrapper.axes))
    finally:
        model.train(was_training)

    if dynamic:
        _name_axes(proto, {**INPUT_AXES, **wrapper.axes})
    _require_standard(proto)
    metadata = _describe(
        *(task.name, wrapper, shape, dynamic, divisor, opset),
        test_resize=test_resize,
        test_pad=test_pad,
        bit_depth=bit_depth,
        config=config,
        checkpoint=checkpoint,
    )
    onnx.helper.set_model_props(proto, metadata.to_props())
    proto.producer_name, proto.producer_version = "mmattn", mmattn.__version__
    try:
        onnx.checker.check_model(proto, full_check=True)
    except Exception as error:
        raise ExportError(f"onnx.checker refuses the exported graph: {error}") from error
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(proto.SerializeToString())
    return metadata


def opset_for(deform_conv: str, opset: int | None) -> int:
    """Return the opset of a file with deformable convolutions of a form.

    Args:
        deform_conv: Form, a key of ``DEFORM_CONV_FORMS``.
        opset: Opset that was asked for, if any.

    Raises:
        ExportError: There is no such form, or the opset does not have it.
    """
    if deform_conv not in DEFORM_CONV_FORMS:
        hint = did_you_mean(deform_conv, DEFORM_CONV_FORMS)
        raise ExportError(
            f"--deform-conv must be one of {', '.join(DEFORM_CONV_FORMS)}, got {deform_conv!r}."
            f"{hint}"
        )
    first = DEFORM_CONV_FORMS[deform_conv]
    if opset is None:
        return max(DEFAULT_OPSET, first)
    if opset < first and deform_conv == "deform_conv":
        raise ExportError(
            f"--deform-conv deform_conv needs opset {first}, got {opset}: leave --opset out, or "
            "take --deform-conv grid_sample, which also runs where DeformConv is missing"
        )
    return opset


def _import_onnx():
    try:
        import onnx
        import onnxscript  # noqa: F401
        import onnxslim  # noqa: F401
    except ImportError as error:
        raise ExportError(
            f"exporting to ONNX needs {error.name}: pip install 'mmattn[export]'"
        ) from error
    return onnx


def _require_multiple(shape: tuple[int, int], divisor: int) -> None:
    if any(side < 1 or side % divisor for side in shape):
        raise ExportError(
            f"shape {shape[0]} x {shape[1]}: this network takes multiples of {divisor}; "
            f"try {_up(shape[0], divisor)} x {_up(shape[1], divisor)}"
        )


def _up(side: int, divisor: int) -> int:
    return max(-(-side // divisor), 1) * divisor


def _trace(
    wrapper: ExportableModel, shape: tuple[int, int], dynamic: bool, divisor: int
) -> torch.export.ExportedProgram:
    # A batch of one would be taken for a constant; torch.export knows 0 and 1 by value.
    device = wrapper.mean.device
    images = torch.rand(2 if dynamic else 1, 3, *shape, device=device) * 255
    free = None
    if dynamic:
        auto = torch.export.Dim.DYNAMIC
        free = ({0: auto, 2: _axis("height", divisor), 3: _axis("width", divisor)},)
    try:
        with torch.no_grad(), sizes_stay_symbolic(), quiet(*_EXPORTERS, hide_warnings=True):
            program = torch.export.export(wrapper, (images,), dynamic_shapes=free)
            return program.run_decompositions(DECOMPOSITIONS)
    except Exception as error:  # torch.export raises whatever the traced code raises
        sizes = "free sizes" if dynamic else f"size {shape[0]} x {shape[1]}"
        # Swin of mmdet and mmseg, for one: it computes the batch from the number of its windows.
        hint = "\nWithout --dynamic a file of one size can be made." if dynamic else ""
        raise ExportError(
            f"torch.export could not trace the model with {sizes}: {error}{hint}"
        ) from error


def _axis(name: str, divisor: int):
    """Describe a free axis; as ``divisor * n`` where the network takes only multiples."""
    if divisor == 1:
        return torch.export.Dim.DYNAMIC
    return divisor * torch.export.Dim(f"{name}_by_{divisor}")


def _translate(
    program: torch.export.ExportedProgram, opset: int, outputs: list[str]
) -> onnx.ModelProto:
    import onnx.inliner
    import onnxslim

    try:
        with quiet(*_EXPORTERS, hide_warnings=True):
            translated = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=list(INPUT_AXES),
                output_names=outputs,
                verbose=False,
                custom_translation_table=translations(),
            )
            proto = onnx.inliner.inline_local_functions(translated.model_proto)
            return onnxslim.slim(proto)
    except Exception as error:
        raise ExportError(f"torch.onnx could not translate the model: {error}") from error


def _name_axes(proto: onnx.ModelProto, axes: dict[str, dict[int, str]]) -> None:
    """Name the free axes of inputs and outputs, and drop the shapes inferred for inner values."""
    del proto.graph.value_info[:]
    for value in (*proto.graph.input, *proto.graph.output):
        dims = value.type.tensor_type.shape.dim
        for position, name in axes[value.name].items():
            dims[position].Clear()
            dims[position].dim_param = name


def _require_standard(proto: onnx.ModelProto) -> None:
    foreign = {f"{node.domain}::{node.op_type}" for node in _nodes(proto.graph)}
    foreign = {name for name in foreign if name.split("::")[0] not in STANDARD_DOMAINS}
    foreign |= {f"function {function.name}" for function in proto.functions}
    if foreign:
        raise ExportError(
            f"the graph needs operators outside standard ONNX: {', '.join(sorted(foreign))}; "
            "the layer they come from needs an export path of plain tensor operations"
        )
    used = [entry for entry in proto.opset_import if entry.domain in STANDARD_DOMAINS]
    del proto.opset_import[:]
    proto.opset_import.extend(used)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield all nodes, those of nested graphs (If, Loop, Scan) included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for nested in (attribute.g, *attribute.graphs):
                yield from _nodes(nested)


def _describe(
    task: str,
    wrapper: ExportableModel,
    shape: tuple[int, int],
    dynamic: bool,
    divisor: int,
    opset: int,
    *,
    test_resize: dict[str, Any] | None,
    test_pad: list[dict[str, Any]] | None,
    bit_depth: int | None,
    config: str,
    checkpoint: str,
) -> ExportMetadata:
    meta = getattr(wrapper.model, "dataset_meta", None) or {}
    return ExportMetadata(
        task=task,
        classes=wrapper.classes,
        palette=[[int(channel) for channel in colour] for colour in meta.get("palette") or []],
        output=wrapper.output,
        threshold=wrapper.threshold,
        shape=list(shape),
        dynamic=dynamic,
        size_divisor=divisor,
        network_channel_order=wrapper.network_channel_order,
        mean=wrapper.mean.flatten().tolist(),
        std=wrapper.std.flatten().tolist(),
        test_mode=wrapper.test_mode,
        test_resize=test_resize,
        test_pad=test_pad,
        bit_depth=bit_depth,
        postprocess=wrapper.postprocess(),
        config=config,
        checkpoint=checkpoint,
        opset=opset,
        mmattn_version=mmattn.__version__,
        torch_version=torch.__version__,
    )
