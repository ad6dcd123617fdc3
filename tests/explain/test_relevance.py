"""Relevance through encoder and decoder: values of a float64 reference, and what must hold."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from mmattn.explain.relevance import DecoderStep, decoder_relevance, relevance_rows
from mmattn.explain.rollout import rollout_rows, with_residual
from mmattn.testing.golden import golden_image, golden_value

BLOCKED = ((1, 2), (1, 5), (0, 0))


class Tiny:
    """Encoder and decoder of two layers each, as functions of computed weights, in float64."""

    def __init__(self, fill: str):
        self.fill = fill
        self.records: list[tuple[str, Tensor]] = []
        if fill == "golden":
            self.x = golden_image(6, 8).double()
        else:
            n = torch.arange(1, 49, dtype=torch.float64)
            self.x = torch.sin(2 * math.pi * (n**2 % 1013) / 1013).float().double().view(6, 8)

    def value(self, name: str, *shape: int) -> Tensor:
        if self.fill == "golden":
            return golden_value(name, shape).double()
        checksum, count = zlib.crc32(name.encode()), math.prod(shape)
        n = np.arange(count, dtype=np.int64) + 1 + checksum // 1000 % 1009
        phase = checksum % 1000 / 1000 * 2 * math.pi
        wave = np.sin(2 * math.pi * (n**2 % 1009) / 1009 + phase)
        part = name.rsplit(".", 1)[-1]
        if part == "bias":
            wave = 0.1 * wave
        elif part == "weight" and len(shape) == 1:
            wave = 1 + 0.2 * wave
        elif len(shape) >= 2:
            wave = wave * math.sqrt(2 / math.prod(shape[1:]))
        return torch.from_numpy(wave.astype(np.float32)).double().view(shape)

    def linear(self, name: str, x: Tensor, outputs: int) -> Tensor:
        weight = self.value(f"{name}.weight", outputs, x.shape[-1])
        return F.linear(x, weight, self.value(f"{name}.bias", outputs))

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (8,), self.value(f"{name}.weight", 8), self.value(f"{name}.bias", 8))

    def attend(self, name: str, q: Tensor, k: Tensor, v: Tensor, blocked: bool = False) -> Tensor:
        q, k, v = (
            self.linear(f"{name}.{part}", x, 8).unflatten(1, (2, 4)).transpose(0, 1)
            for part, x in (("q", q), ("k", k), ("v", v))
        )
        logits = q @ k.mT / 2
        if blocked:
            mask = torch.zeros(logits.shape[1:], dtype=torch.float64)
            for place in BLOCKED:
                mask[place] = -math.inf
            logits = logits + mask
        weights = logits.softmax(-1)
        weights.requires_grad_()
        self.records.append((name, weights))
        return self.linear(f"{name}.o", (weights @ v).transpose(0, 1).flatten(1), 8)

    def feed(self, name: str, x: Tensor) -> Tensor:
        return self.linear(f"{name}.fc2", self.linear(f"{name}.fc1", x, 16).relu(), 8)

    def encode(self) -> Tensor:
        x, pos = self.x, self.value("pos", 6, 8)
        for index in range(2):
            name = f"enc.{index}"
            x = self.norm(f"{name}.norm1", x + self.attend(f"{name}.attn", x + pos, x + pos, x))
            x = self.norm(f"{name}.norm2", x + self.feed(name, x))
        return x

    def decode(self, memory: Tensor, cross_first: bool = False, blocked: bool = False) -> Tensor:
        pos, qp = self.value("pos", 6, 8), self.value("query_pos", 3, 8)
        t = torch.zeros(3, 8, dtype=torch.float64)
        for index in range(2):
            name = f"dec.{index}"
            steps = ["self", "cross"]
            for step in reversed(steps) if cross_first else steps:
                if step == "self":
                    y = self.attend(f"{name}.self_attn", t + qp, t + qp, t)
                    t = self.norm(f"{name}.norm1", t + y)
                else:
                    y = self.attend(f"{name}.cross_attn", t + qp, memory + pos, memory, blocked)
                    t = self.norm(f"{name}.norm2", t + y)
            t = self.norm(f"{name}.norm3", t + self.feed(name, t))
        return t

    def ahats(self, y: Tensor) -> list[tuple[str, np.ndarray]]:
        tensors = [weights for _, weights in self.records]
        gradients = torch.autograd.grad(y, tensors, retain_graph=True, allow_unused=True)
        return [
            (name, np.zeros(w.shape[1:]) if g is None else (g * w).relu().mean(0).detach().numpy())
            for (name, w), g in zip(self.records, gradients, strict=True)
        ]

    def relevance(self, y: Tensor, **options: bool) -> tuple[np.ndarray, np.ndarray]:
        found = self.ahats(y)
        encoder = [ahat for name, ahat in found if name.startswith("enc")]
        decoder = [
            DecoderStep("cross" if "cross" in name else "self", ahat)
            for name, ahat in found
            if name.startswith("dec")
        ]
        return decoder_relevance(encoder, decoder, 3, 6, **options)


#: fill -> what is explained -> row(s) of R_qi.
GOLDEN = {
    "golden": {
        "logits": "-0.193437861 0.436771866 0.513202072 -0.0574515425 -0.430083835",
        "row 1": """0.00325934289 0.00402410299 0.00306813612 0.00817252516 0.00311751416
            0.00463701653""",
        "row 0": """0.000659554518 0.000820482695 0.000616571358 0.00165525119 0.000627645215
            0.000939401772""",
        "row 2": """0.000967413941 0.00119570246 0.000910058672 0.00242928005 0.000927484323
            0.00137791994""",
        "R_qq": """1.00002905 7.06109038e-05 0.000100182602 0.0040707286 1.00514767 0.00601673922
            9.22605713e-05 4.82459152e-05 1.00004126""",
        "no N": """0.00199807901 0.00239511645 0.00137349301 0.000836352166 0.00112840163
            0.00213092018""",
        "cross only": """0.00198781363 0.00238280718 0.00136640031 0.000831690919 0.00112254741
            0.00211993106""",
        "cx": """0.000847711864 0.000710318063 0.000416930692 0.000743942201 0.000331446196
            0.000599920008""",
        "probability": """0.000646996394 0.000790467597 0.000650269411 0.00166198754 0.000624812531
            0.000886482826""",
        "cross first": """0.0054235608 0.00634987289 0.0100538261 0.0227510952 0.00999139896
            0.00925331379""",
        "blocked": """0.00772588145 0.0087801775 0.00388140302 0.0252225496 0.0123337683
            0.00580081819""",
        "encoder": """8.33607238e-05 0.000256058678 0.0012440298 0.00539470039 0.00155944953
            0.000683934672""",
        "rollout": "0.0751737656 0.156131484 0.18841834 0.317316644 0.178056832 0.0849029331",
    },
    "chirp": {
        "logits": "0.759379248 -0.115579107 -0.237499663 -0.106556846 0.206207533",
        "row 1": """0.0260598617 0.0409541046 0.0272108272 0.0243424796 0.0374199516
            0.0180083624""",
        "row 0": """0.00727547845 0.0121474625 0.00780684242 0.00703857778 0.0108347314
            0.0050858948""",
        "row 2": """0.00710105591 0.0116648899 0.00754522045 0.00676030136 0.0103716868
            0.00487226305""",
        "R_qq": """1.00013249 0.000132608529 0.000131484854 0.0162676427 1.01486195 0.0160271568
            0.000146728136 0.000139745142 1.00013718""",
        "no N": """0.0117319704 0.0182964755 0.0141867326 0.00153434077 0.0175193895
            0.00322859102""",
        "cross only": """0.0114962878 0.0179661122 0.0139466783 0.00124141005 0.0172516903
            0.00305376784""",
        "cx": """0.000222618799 0.000536513342 0.00270679251 0.00253610996 0.00239403145
            0.00146972447""",
        "probability": """0.006350517 0.00945404538 0.00601140022 0.00583884036 0.00826374301
            0.00434094252""",
        "cross first": """0.00404520695 0.00641904309 0.00675250361 0.00542026749 0.00287975205
            0.00495399963""",
        "blocked": """0.00526099263 0.0100870287 0.00236331217 0.00572193526 0.00228582879
            0.0021447428""",
        "encoder": """0.000136177489 0.000583711042 0.00402168154 0.00441609283 0.00662214967
            0.00649581362""",
        "rollout": "0.127667347 0.216777941 0.171811902 0.152864398 0.176727948 0.154150463",
    },
}


def expected(fill: str, key: str) -> np.ndarray:
    return np.array(GOLDEN[fill][key].split(), float)


def close(found: np.ndarray, fill: str, key: str) -> None:
    np.testing.assert_allclose(found, expected(fill, key), rtol=3e-7, atol=1e-11)


@pytest.fixture(params=["golden", "chirp"])
def fill(request: pytest.FixtureRequest) -> str:
    return request.param


def test_detection_targets_are_those_of_the_reference(fill: str) -> None:
    tiny = Tiny(fill)
    t = tiny.decode(tiny.encode())
    logits = tiny.linear("cls", t, 5)
    close(logits[1].detach().numpy(), fill, "logits")
    across, of_queries = tiny.relevance(logits[1, 2])
    for row in range(3):
        close(across[row], fill, f"row {row}")
    close(of_queries.ravel(), fill, "R_qq")
    close(tiny.relevance(logits[1, 2], normalize=False)[0][1], fill, "no N")
    close(tiny.relevance(logits[1, 2], cross_only=True)[0][1], fill, "cross only")
    close(tiny.relevance(tiny.linear("box", t, 4).sigmoid()[1, 0])[0][1], fill, "cx")
    close(tiny.relevance(logits[1].softmax(0)[2])[0][1], fill, "probability")


@pytest.mark.parametrize("blocked", [False, True])
def test_masks_of_queries_begin_with_cross_attention(fill: str, blocked: bool) -> None:
    tiny = Tiny(fill)
    memory = tiny.encode()
    t = tiny.decode(memory, cross_first=True, blocked=blocked)
    masks = (t @ memory.T / math.sqrt(8)).sigmoid()
    y = tiny.linear("cls", t, 5)[1].softmax(0)[2] * masks[1, [0, 1, 3]].mean()
    close(tiny.relevance(y)[0][1], fill, "blocked" if blocked else "cross first")


def test_an_encoder_alone(fill: str) -> None:
    tiny = Tiny(fill)
    y = tiny.linear("cls", tiny.encode(), 5)[[1, 2, 4], 2].mean()
    ahats = [ahat for _, ahat in tiny.ahats(y)]
    rows = np.eye(6)[[1, 2, 4]]
    close((relevance_rows(ahats, rows) - rows).mean(0), fill, "encoder")
    layers = [with_residual(w.detach().numpy().mean(0)) for _, w in tiny.records]
    close(rollout_rows(layers, rows).mean(0), fill, "rollout")


def test_no_matrix_of_all_tokens_is_needed() -> None:
    """The rules as they are written, with R_ii in full, and the rows that are computed."""
    generator = np.random.default_rng(0)
    encoder = [generator.random((7, 7)) * (generator.random((7, 7)) < 0.4) for _ in range(3)]
    decoder = [
        DecoderStep(kind, generator.random((4, 4 if kind == "self" else 7)))
        for kind in ("cross", "self", "cross", "self")
    ]
    full = np.eye(7)
    for ahat in encoder:
        full = full + ahat @ full
    np.testing.assert_allclose(relevance_rows(encoder, np.eye(7)), full, rtol=1e-12)

    def n(r: np.ndarray) -> np.ndarray:
        extra = r - np.eye(len(r))
        sums = extra.sum(1, keepdims=True)
        return np.eye(len(r)) + np.divide(extra, sums, out=np.zeros_like(r), where=sums > 0)

    of_queries, across = np.eye(4), np.zeros((4, 7))
    for step in decoder:
        if step.kind == "self":
            across, of_queries = across + step.ahat @ across, of_queries + step.ahat @ of_queries
        else:
            across = across + n(of_queries).T @ step.ahat @ n(full)
    found = decoder_relevance([sparse.csr_matrix(a) for a in encoder], decoder, 4, 7)
    np.testing.assert_allclose(found[0], across, rtol=1e-12)
    np.testing.assert_allclose(found[1], of_queries, rtol=1e-12)


def test_what_does_not_matter_is_zero_and_scaling_scales() -> None:
    tiny = Tiny("golden")
    logits = tiny.linear("cls", tiny.decode(tiny.encode()), 5)
    assert (tiny.relevance(0 * logits[1, 2])[0] == 0).all()
    for (_, once), (_, thrice) in zip(
        tiny.ahats(logits[1, 2]), tiny.ahats(3 * logits[1, 2]), strict=True
    ):
        np.testing.assert_allclose(thrice, 3 * once, rtol=1e-12)


def test_uniform_attention_with_a_constant_gradient() -> None:
    weights = torch.full((2, 5, 5), 0.2, dtype=torch.float64)
    ahat = (3.0 * weights).relu().mean(0).numpy()
    np.testing.assert_allclose(ahat, 3 / 5, atol=1e-15)
