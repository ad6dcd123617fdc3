"""Textbook forms of the attention blocks: one call of torch for each sign of the formula.

They are those of public code, as far as it is known: every softmax and product is a tensor, pooled
vectors come from torch's pooling, depthwise convolutions from its convolution. A form takes a block
and uses its weights, and returns what the block returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Form = Callable[[Any, Tensor], Tensor]


def cbam(block: Any, x: Tensor) -> Tensor:
    """The authors' code."""
    mlp = block.ChannelGate.mlp
    mean, peak = F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)
    channel = (mlp(mean) + mlp(peak)).sigmoid()
    x = x * channel[:, :, None, None]
    maps = torch.cat([x.max(1, keepdim=True).values, x.mean(1, keepdim=True)], 1)
    return x * block.SpatialGate.spatial(maps).sigmoid()


def ela(block: Any, x: Tensor) -> Tensor:
    """The paper's code."""
    rows, columns = x.mean(3), x.mean(2)
    rows, columns = block.gn(block.conv(rows)).sigmoid(), block.gn(block.conv(columns)).sigmoid()
    return x * rows[:, :, :, None] * columns[:, :, None, :]


def eca(block: Any, x: Tensor) -> Tensor:
    """The authors' code."""
    means = F.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose(1, 2)  # (N, 1, C)
    gate = block.conv(means).transpose(1, 2).unsqueeze(-1).sigmoid()
    return x * gate.expand_as(x)


def squeeze_excitation(block: Any, x: Tensor) -> Tensor:
    """torchvision's code."""
    return x * block.fc2(block.fc1(F.adaptive_avg_pool2d(x, 1)).relu()).sigmoid()


def coordinate_attention(block: Any, x: Tensor) -> Tensor:
    """The authors' code."""
    rows = F.adaptive_avg_pool2d(x, (None, 1))
    columns = F.adaptive_avg_pool2d(x, (1, None)).transpose(2, 3)
    strips = F.hardswish(block.bn1(block.conv1(torch.cat([rows, columns], 2))))
    rows, columns = strips.split([x.shape[2], x.shape[3]], 2)
    gate_h = block.conv_h(rows).sigmoid()
    return x * block.conv_w(columns.transpose(2, 3)).sigmoid() * gate_h


def triplet_attention(block: Any, x: Tensor) -> Tensor:
    """The authors' code, which permutes the map so that the pooled dimension comes first."""

    def gated(gate: Any, x: Tensor) -> Tensor:
        pooled = torch.cat([x.max(1).values.unsqueeze(1), x.mean(1).unsqueeze(1)], 1)
        return x * gate.conv.bn(gate.conv.conv(pooled)).sigmoid()

    rows = gated(block.cw, x.permute(0, 2, 1, 3).contiguous()).permute(0, 2, 1, 3).contiguous()
    columns = gated(block.hc, x.permute(0, 3, 2, 1).contiguous()).permute(0, 3, 2, 1).contiguous()
    return 1 / 3 * (gated(block.hw, x) + rows + columns)


def simam(block: Any, x: Tensor) -> Tensor:
    """The authors' code."""
    others = x.shape[2] * x.shape[3] - 1
    squares = (x - x.mean((2, 3), keepdim=True)).pow(2)
    variance = squares.sum((2, 3), keepdim=True) / others
    return x * (squares / (4 * (variance + block.regularisation)) + 0.5).sigmoid()


def global_context(block: Any, x: Tensor) -> Tensor:
    """The authors' code."""
    n, c, height, width = x.shape
    attention = block.conv_mask(x).view(n, 1, height * width).softmax(2).unsqueeze(3)
    context = x.view(n, c, height * width).unsqueeze(1) @ attention
    return x + block.channel_add_conv(context.view(n, c, 1, 1))


def criss_cross_attention(block: Any, x: Tensor) -> Tensor:
    """mmcv's code."""
    query, key, value = block.query_conv(x), block.key_conv(x), block.value_conv(x)
    height = x.shape[2]
    itself = torch.full((height,), -torch.inf, dtype=x.dtype, device=x.device).diag()
    column = torch.einsum("bchw,bciw->bwhi", query, key) + itself
    row = torch.einsum("bchw,bchj->bhwj", query, key)
    weights = torch.cat([column.transpose(1, 2), row], dim=-1).softmax(dim=-1)
    out = torch.einsum("bciw,bhwi->bchw", value, weights[..., :height])
    out = out + torch.einsum("bchj,bhwj->bchw", value, weights[..., height:])
    return x + block.gamma * out


def area_attention(block: Any, x: Tensor) -> Tensor:
    """The paper's equation, for areas that divide the map."""
    n, c, height, width = x.shape
    q, k = block.qk(x).flatten(2).mT.chunk(2, 2)
    v = block.v(x)
    # (N areas, heads, positions of an area, d)
    areas = (
        _heads(t.reshape(n * block.areas, -1, c), block.num_heads) for t in (q, k, v.flatten(2).mT)
    )
    out = _merged(_attend(*areas)).reshape(n, height * width, c)
    return x + block.proj(_as_map(out, x) + block.pe(v))


def agent_attention(block: Any, x: Tensor) -> Tensor:
    """The equation, with the sums of tables of rows and columns resized as the authors do."""
    size = tuple(x.shape[2:])
    q, k, v = block.qkv(_tokens(x)).chunk(3, 2)
    agents = _tokens(F.adaptive_avg_pool2d(_as_map(q, x), block.agents))
    local = _tokens(_convolved(block.dwc, _as_map(v, x)))
    lines = [
        (block.ah_bias + block.aw_bias).squeeze(0),  # (heads, agents, height, width)
        (block.ha_bias + block.wa_bias).squeeze(0).permute(0, 3, 1, 2),
    ]
    to_positions, to_agents = (
        (F.interpolate(table, size, mode="bilinear") + F.interpolate(line, size, mode="bilinear"))
        .flatten(2)
        .unsqueeze(0)
        for table, line in zip((block.an_bias, block.na_bias), lines, strict=True)
    )
    q, k, v, agents = (_heads(t, block.num_heads) for t in (q, k, v, agents))
    collected = _attend(agents, k, v, to_positions)
    out = _attend(q, agents, collected, to_agents.mT)
    return _as_map(block.proj(_merged(out) + local), x)


def hilo(block: Any, x: Tensor) -> Tensor:
    """The authors' code, for maps that need no padding."""
    n, _, height, width = x.shape
    side = block.window_size
    qkv = _windows(block.h_qkv(x.permute(0, 2, 3, 1)), side)
    q, k, v = (_heads(t, block.high_heads) for t in qkv.chunk(3, 2))
    high = _unwindowed(_merged(_attend(q, k, v)), side, (height, width), n)
    low_q = block.l_q(_tokens(x))
    low = block.l_kv(_tokens(F.avg_pool2d(x, side, side))).chunk(2, 2)
    q, k, v = (_heads(t, block.low_heads) for t in (low_q, *low))
    low = block.l_proj(_merged(_attend(q, k, v))).unflatten(1, (height, width))
    return torch.cat([block.h_proj(high), low], 3).permute(0, 3, 1, 2)


def bilevel_routing_attention(block: Any, x: Tensor) -> Tensor:
    """The equations; the map is padded to whole regions, as in the authors' networks."""
    n, c, height, width = x.shape
    regions = block.n_win
    padded = F.pad(x, (0, -width % regions, 0, -height % regions))
    size = padded.shape[2:]
    region = (size[0] // regions, size[1] // regions)
    qkv = block.qkv.qkv(padded.permute(0, 2, 3, 1))
    q, k, v = (_windows(t, region).unflatten(0, (n, -1)) for t in qkv.chunk(3, 3))
    with torch.no_grad():
        chosen = (q.mean(2) @ k.mean(2).mT).topk(block.topk, 2).indices  # (N, regions, k)
    image = torch.arange(n, device=x.device)[:, None, None]
    # (N regions, heads, positions, d); keys and values of the chosen regions
    k, v = (t[image, chosen].flatten(2, 3).flatten(0, 1) for t in (k, v))
    q, k, v = (_heads(t, block.num_heads) for t in (q.flatten(0, 1), k, v))
    out = (q @ k.mT * c**-0.5).softmax(-1) @ v
    out = _unwindowed(_merged(out), region, tuple(size), n).permute(0, 3, 1, 2)
    local = _convolved(block.lepe, qkv[..., 2 * c :].permute(0, 3, 1, 2))
    out = (out + local)[:, :, :height, :width]
    return block.wo(out.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def focused_linear_attention(block: Any, x: Tensor) -> Tensor:
    """The equations, with the norm over all channels."""
    q, k, v = block.qkv(_tokens(x)).chunk(3, 2)
    scale = F.softplus(block.scale)
    q, k = (F.relu(q) + 1e-6) / scale, (F.relu(k) + 1e-6) / scale
    q_length, k_length = q.norm(dim=-1, keepdim=True), k.norm(dim=-1, keepdim=True)
    q, k = q**block.power, k**block.power
    q = q / q.norm(dim=-1, keepdim=True) * q_length
    k = k / k.norm(dim=-1, keepdim=True) * k_length
    local = _as_map(v, x).unflatten(1, (block.num_heads, -1)).flatten(0, 1)
    local = _tokens(block.dwc(local).unflatten(0, (len(x), -1)).flatten(1, 2))
    q, k, v = (_heads(t, block.num_heads) for t in (q, k, v))
    z = 1 / (q @ k.sum(2, keepdim=True).mT + 1e-6)
    return _as_map(block.proj(_merged(q @ (k.mT @ v) * z) + local), x)


def rank_augmented_attention(block: Any, x: Tensor) -> Tensor:
    """The equations of the linear form."""
    from mmattn.layers.rotary import rotation_2d

    q, k, v, gate = block.qkvo(x).chunk(4, 1)
    local = _convolved(block.lepe, v)
    q, k, v = (_heads(_tokens(t), block.num_heads) for t in (q, k, v))
    q, k = F.elu(q) + 1, F.elu(k) + 1
    scores = q.mean(2, keepdim=True) @ k.mT * q.shape[3] ** -0.5
    k = k * (scores.softmax(-1).mT * k.shape[2])
    z = 1 / (q @ k.mean(2, keepdim=True).mT + 1e-6)
    cos, sin = rotation_2d(x.shape[2:], q)

    def rotated(t: Tensor) -> Tensor:
        swapped = torch.stack([-t[..., 1::2], t[..., ::2]], -1).flatten(-2)
        return t * cos + swapped * sin

    out = rotated(q) @ (rotated(k).mT @ v / k.shape[2]) * z
    return block.proj((_as_map(_merged(out), x) + local) * gate)


def inline_attention(block: Any, x: Tensor) -> Tensor:
    """The equations, and one grouped convolution for the kernels of all images."""
    n, c, height, width = x.shape
    tokens = _tokens(x)
    q, k, v = block.qkv(tokens).chunk(3, 2)
    kernels = block.residual(tokens.mean(1).unsqueeze(2)).reshape(n * c, 1, 3, 3)
    image = _as_map(v, x).reshape(1, n * c, height, width)
    local = F.conv2d(image, kernels, padding=1, groups=n * c).reshape(x.shape)
    q, k, v = (_heads(t, block.num_heads) for t in (q, k, v))
    mean = v.mean(2, keepdim=True)
    out = mean + q.shape[3] ** -0.5 * q @ ((k - k.mean(2, keepdim=True)).mT @ v / v.shape[2])
    return _as_map(block.proj(_merged(out) + _tokens(local)), x)


def varied_size_window_attention(block: Any, x: Tensor) -> Tensor:
    """The equations, with a table of relative positions."""
    from mmattn.projects.blocks.vsa import sample_positions, sampling_grid

    n, _, height, width = x.shape
    side, heads = block.window_size, block.num_heads
    padding = (0, -width % side, 0, -height % side)
    qkv = F.pad(_as_map(block.qkv(_tokens(x)), x), padding)
    size = tuple(qkv.shape[2:])
    moves = block.transform(F.pad(x, padding)).unflatten(1, (heads, 4))
    grid = sampling_grid(*sample_positions(moves, side), size)
    q, k, v = qkv.chunk(3, 1)
    k, v = (
        F.grid_sample(t.unflatten(1, (heads, -1)).flatten(0, 1), grid, align_corners=False)
        .unflatten(0, (n, heads))
        .permute(0, 3, 1, 4, 2)
        .flatten(0, 1)
        for t in (k, v)
    )  # (windows, heads, w w, d)
    q = _heads(_windows(q.permute(0, 2, 3, 1), side), heads)
    bias = block.relative_position_bias_table[block.relative_position_index.flatten()]
    bias = bias.unflatten(0, (side**2, side**2)).permute(2, 0, 1).unsqueeze(0)
    out = _unwindowed(_merged(_attend(q, k, v, bias)), side, size, n)
    return block.proj(out[:, :height, :width]).permute(0, 3, 1, 2)


def aggregated_attention(block: Any, x: Tensor) -> Tensor:
    """The equations, with windows that are unfolded."""
    height, width = x.shape[2:]
    heads, side = block.num_heads, block.window_size
    q = F.normalize(_heads(block.q(_tokens(x)), heads), dim=-1)
    pooled = F.adaptive_avg_pool2d(F.gelu(block.sr(x)), block.pool_size)
    pooled = block.kv(block.norm(_tokens(pooled))).chunk(2, 2)
    far_k, far_v = (_heads(t, heads) for t in pooled)
    far_k = F.normalize(far_k, dim=-1)
    k, v = block.kv(_tokens(x)).chunk(2, 2)
    k = F.normalize(k.unflatten(2, (heads, -1)), dim=-1).flatten(2)
    k, v = (
        F.unfold(_as_map(t, x), side, padding=side // 2).unflatten(1, (heads, -1, side * side))
        for t in (k, v)
    )  # (N, heads, d, K, L)
    inside = F.unfold(x.new_ones(1, 1, height, width), side, padding=side // 2)[0].mT  # (L, K)
    length = inside.sum(1, keepdim=True) + far_k.shape[2]
    scaled = (q + block.query_embedding) * (F.softplus(block.temperature) * length.log())
    near = (scaled.mT.unsqueeze(3) * k).sum(2).mT + block.relative_pos_bias_local.unsqueeze(1)
    near = near.masked_fill(inside == 0, -torch.inf)
    far = scaled @ far_k.mT + block._cpb(x.shape[2:], q)
    weights = torch.cat([near, far], 3).softmax(3)
    near, far = weights[..., : side * side], weights[..., side * side :]
    near = near + q @ block.learnable_tokens + block.learnable_bias
    out = (near.mT.unsqueeze(2) * v).sum(3).mT + far @ far_v
    return _as_map(block.proj(_merged(out)), x)


def conv_glu(block: Any, x: Tensor) -> Tensor:
    """The authors' code."""
    gate, value = block.fc1(_tokens(x)).chunk(2, 2)
    gate = F.gelu(_tokens(_convolved(block.dwconv.dwconv, _as_map(gate, x))))
    return _as_map(block.fc2(gate * value), x)


def scale_aware_modulation(block: Any, x: Tensor) -> Tensor:
    """The authors' code."""
    tokens = _tokens(x)
    parts = _as_map(block.s(tokens), x).chunk(block.num_heads, 1)
    convolved = [
        _convolved(block.get_submodule(f"local_conv_{m}"), part) for m, part in enumerate(parts, 1)
    ]
    mixed = block.proj0(torch.stack(convolved, 2).flatten(1, 2))
    modulator = _tokens(block.proj1(F.gelu(block.bn(mixed))))
    return _as_map(block.proj(modulator * block.v(tokens)), x)


def contmix(block: Any, x: Tensor) -> Tensor:
    """The equations, with windows that are gathered; for maps of at least the kernel's size."""
    from mmattn.layers.dynamic_window import relative_biases, window_starts

    size, groups = x.shape[2:], block.groups

    def norm(layer: Any, t: Tensor) -> Tensor:
        t = F.layer_norm(t.permute(0, 2, 3, 1), layer.normalized_shape, layer.weight, layer.bias,
                         layer.eps)  # fmt: skip
        return t.permute(0, 3, 1, 2)

    x = x + _convolved(block.dwconv1, x)
    normed = norm(block.norm1, x)
    many, after = block.lepe
    local = many.origin_bn(_convolved(many.lk_origin, normed))
    for side, dilation in many.branches:
        conv = many.get_submodule(f"dil_conv_k{side}_{dilation}")
        local = local + many.get_submodule(f"dil_bn_k{side}_{dilation}")(_convolved(conv, normed))
    _, convolution, key_norm = block.weight_key
    key = key_norm(convolution(F.adaptive_avg_pool2d(normed, 7)))
    q, key = (t.unflatten(1, (groups, -1)).flatten(3) for t in (block.weight_query(normed), key))
    affinity = (q * (2 * q.shape[2]) ** -0.5).mT @ key  # (N, G, H W, 49)
    logits = affinity @ block.weight_proj.weight.flatten(1).mT + block.weight_proj.bias
    parts = logits.split([kernel**2 for kernel in block.kernels], 3)
    values = block.weight_value(normed).chunk(2, 1)
    sums = []
    for kernel, part, table, value in zip(
        block.kernels, parts, (block.rpb1, block.rpb2), values, strict=True
    ):
        bias = relative_biases(table, size).flatten(3).flatten(1, 2)
        weights = (part + bias).softmax(3)
        rows, columns = (
            window_starts(length, kernel, x.device)[:, None] + torch.arange(kernel)
            for length in size
        )
        windows = value[:, :, rows[:, None, :, None], columns[None, :, None, :]]
        windows = windows.flatten(4).flatten(2, 3).unflatten(1, (groups, -1))  # (N, G, d, H W, K)
        sums.append(torch.einsum("ngpk,ngdpk->ngdp", weights, windows).flatten(1, 2))
    y = block.fusion_proj(torch.cat(sums, 1).unflatten(2, tuple(size))) + after(local)
    _, reduce, _, expand, _ = block.se_layer.proj
    y = y * expand(F.gelu(reduce(y.mean((2, 3), keepdim=True)))).sigmoid()
    return x + block.proj(F.silu(block.gate[1](block.gate[0](normed))) * y)


def neighborhood_attention(block: Any, x: Tensor) -> Tensor:
    """The definition, with keys and values of every window copied out."""
    from mmattn.ops.neighborhood_attention import reference

    qkv = block.qkv(x.permute(0, 2, 3, 1)).unflatten(3, (3, block.num_heads, -1))
    q, k, v = qkv.unbind(3)
    kernel, dilation = (block.kernel_size,) * 2, (block.dilation,) * 2
    out = reference.forward(q, k, v, block.rpb, kernel, dilation, q.shape[4] ** -0.5)
    return block.proj(out.flatten(3)).permute(0, 3, 1, 2)


def depthwise_mixer(block: Any, x: Tensor) -> Tensor:
    """The equation."""
    y = _convolved(block.dwconv, _as_map(block.input_proj(_tokens(x)), x))
    return _as_map(block.out_proj(_tokens(y)), x)


#: Block -> its textbook form.
TEXTBOOKS: dict[str, Form] = {
    "CBAM": cbam,
    "ELA": ela,
    "ECA": eca,
    "SE": squeeze_excitation,
    "CoordAtt": coordinate_attention,
    "TripletAttention": triplet_attention,
    "SimAM": simam,
    "GlobalContext": global_context,
    "CrissCrossAttention": criss_cross_attention,
    "AreaAttention": area_attention,
    "AgentAttention": agent_attention,
    "AggregatedAttention": aggregated_attention,
    "BiLevelRoutingAttention": bilevel_routing_attention,
    "ContMix": contmix,
    "ConvGLU": conv_glu,
    "DepthwiseMixer": depthwise_mixer,
    "FocusedLinearAttention": focused_linear_attention,
    "HiLo": hilo,
    "InLineAttention": inline_attention,
    "NeighborhoodAttention": neighborhood_attention,
    "RankAugmentedAttention": rank_augmented_attention,
    "ScaleAwareModulation": scale_aware_modulation,
    "VariedSizeWindowAttention": varied_size_window_attention,
}


def _tokens(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H W, C)."""
    return x.flatten(2).transpose(1, 2)


def _as_map(tokens: Tensor, like: Tensor) -> Tensor:
    """(N, H W, C) -> (N, C, H, W)."""
    return tokens.transpose(1, 2).unflatten(2, tuple(like.shape[2:]))


def _heads(tokens: Tensor, heads: int) -> Tensor:
    """(N, L, C) -> (N, heads, L, d)."""
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)


def _merged(x: Tensor) -> Tensor:
    """(N, heads, L, d) -> (N, L, C)."""
    return x.transpose(1, 2).flatten(2)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    logits = q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)
    return (logits if bias is None else logits + bias).softmax(-1) @ v


def _convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """The layer by torch's convolution, also where the layer has another."""
    return nn.Conv2d.forward(layer, x)


def _windows(x: Tensor, side: int | tuple[int, int]) -> Tensor:
    """(N, H, W, C) -> (N windows, positions of a window, C)."""
    h, w = (side, side) if isinstance(side, int) else side
    n, height, width, c = x.shape
    return x.reshape(n, height // h, h, width // w, w, c).transpose(2, 3).reshape(-1, h * w, c)


def _unwindowed(x: Tensor, side: int | tuple[int, int], size: tuple[int, int], n: int) -> Tensor:
    """(N windows, positions of a window, C) -> (N, H, W, C)."""
    h, w = (side, side) if isinstance(side, int) else side
    x = x.reshape(n, size[0] // h, size[1] // w, h, w, -1).transpose(2, 3)
    return x.reshape(n, *size, -1)
