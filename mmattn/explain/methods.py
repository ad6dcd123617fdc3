"""All methods by name, behind one function."""

from __future__ import annotations

from .attention.views import attention_views
from .cam import METHODS as GRADIENT_METHODS
from .explanation import Explanation
from .gates import gate_views
from .gradient_maps import gradient_map
from .head_importance import head_importances
from .networks import Network, Sample
from .receptive_field import receptive_field_map
from .target import Target
from .token_maps import relevance_maps, rollout_maps

#: Method -> what it shows, in one line.
METHODS: dict[str, str] = {
    "attention": "weights with which a place or a query reads positions",
    "gates": "factors with which blocks scale channels and positions",
    "heads": "what each head of the attention gives to the target",
    "receptive-field": "pixels that move the middle of a feature map",
    "rollout": "attention of all layers multiplied, from a region down to the image",
    "relevance": "gradient times attention, through encoder and decoder to the image",
    **dict.fromkeys(GRADIENT_METHODS, "activations and gradients of a layer"),
}


def explain(
    network: Network, sample: Sample, target: Target, method: str, at: str = "auto"
) -> list[Explanation]:
    """Explain a target by one method; attention may give several maps.

    Args:
        network: Network.
        sample: Image, as ``network.prepare`` returns it.
        target: What is explained, as ``choose_target`` returns it.
        method: A key of ``METHODS``.
        at: Name or pattern of modules, or ``auto``.

    Raises:
        ConfigError: The network has nothing of the kind at that place.
    """
    if method == "attention":
        return attention_views(network, sample, target, at)
    if method == "gates":
        return gate_views(network, sample, target, at)
    if method == "heads":
        return head_importances(network, sample, target, at)
    if method == "receptive-field":
        return [receptive_field_map(network, sample, at)]
    if method == "rollout":
        return rollout_maps(network, sample, target, at)
    if method == "relevance":
        return relevance_maps(network, sample, target, at)
    return [gradient_map(network, sample, target, method, at)]
