"""Promise: the parameters that the index tells are those of the networks."""

from __future__ import annotations

import pytest

from mmattn.config import model_index
from mmattn.config.model_index import ModelEntry
from mmattn.weights.index import PACKAGED, read_index
from tests.support.model_parameters import build_on_meta, parameters

#: Of each system the model that is built fastest; ``-m slow`` builds all.
QUICK = {
    "atss_r18-narrow-cbam_1xb8-500_shapes-128x96",
    "atss_r50_fpn_dyhead_1x_coco",
    "bevanet-s_1xb8-1k_camvid-176x240",
    "ccnet_r18-d4_1xb8-600_shapes-96x128",
    "ccnet-tiny_r18-d4_1xb8-600_folder-96x128",
    "gated-unet-s4_1xb8-600_shapes-96x128",
    "mask2former_r50_1xb4-4k_folder-panoptic-512x512",
    "mask2former_swin-t_8xb2-50e_coco-panoptic",
    "fcn_r18-narrow_1xb8_shapes-64x96",
    "nat-m_upernet_8xb2-160k_ade20k-512x512",
    "retinanet_host-micro-inline_fpn_1x_coco",
    "retinanet_r50-eca_fpn_1x_coco",
    "yolov12-n_8xb32-600e_coco",
    "yolox_nano-ela-t_8xb8-300e_coco",
}
MODELS = [
    pytest.param(entry, id=entry.name, marks=() if entry.name in QUICK else pytest.mark.slow)
    for entry in model_index()
]


def test_every_system_is_among_the_quick_ones() -> None:
    quick = [entry for entry in model_index() if entry.name in QUICK]
    assert len(quick) == len(QUICK)
    assert {e.collection for e in quick} == {e.collection for e in model_index()}


@pytest.mark.filterwarnings("ignore")  # mmdet's and mmseg's own
@pytest.mark.parametrize("entry", MODELS)
def test_parameters_are_counted(entry: ModelEntry) -> None:
    assert entry.parameters == parameters(entry.config), (
        "python -m tests.support.model_parameters NAME prints the count"
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("entry", "name"),
    [(entry, name) for entry in model_index() for name in entry.weights],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_weights_of_other_projects_fit_the_network(entry: ModelEntry, name: str) -> None:
    """Names and sizes of the network that they were trained in are taken, each and no other."""
    theirs = build_on_meta(read_index(PACKAGED).entries[name].config or "").state_dict()
    build_on_meta(entry.config).load_state_dict(theirs, strict=True)
    with pytest.raises(RuntimeError, match="Missing key"):
        build_on_meta(entry.config).load_state_dict(dict(list(theirs.items())[1:]), strict=True)
