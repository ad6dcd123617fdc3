"""The error rate of verdicts, measured with real trainings: one network against itself.

A host is trained with many seeds. Two sets of its runs are a comparison whose right verdict is
known: there is no difference. A known gain is made by mending a share of the wrong pixels in the
counts of one side (``error_rate.with_gain``), which leaves the spread between seeds and images as
it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmattn.errors import ConfigError
from mmattn.io import atomic_write
from mmattn.tables import markdown_table

from .error_rate import (
    GAIN,
    Pair,
    called_different,
    called_higher,
    compare_counts,
    intraclass_correlation,
    with_gain,
)
from .files import read_json, write_json
from .image_counts import AREAS, PixelCounts, area_metric
from .plan import Comparison
from .provenance import machine_and_versions
from .statistics import draw_images, smallest_visible
from .summary import interval_text, p_text
from .train_variant import RESULT

#: Random pairs for the rates of several numbers of seeds.
RANDOM_PAIRS, SEEDS = 500, (3, 4, 5, 6)
_DRAWS = 1000  # of images, for the random pairs


@dataclass(frozen=True)
class Hosts:
    """Finished runs of one network.

    Attributes:
        seeds: Seed of each run.
        counts: Pixel counts of each run, int64 (runs, images, 4, classes).
        commits: Commits of the runs.
        failures: Reason why a run has no result, by seed.
    """

    seeds: tuple[int, ...]
    counts: np.ndarray
    commits: tuple[str, ...]
    failures: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.seeds)

    def runs(self, indices: Sequence[int], share: float = 0.0) -> list[PixelCounts]:
        """Return some runs, of whose wrong pixels a share is mended."""
        chosen = [self.counts[index] for index in indices]
        return [PixelCounts(with_gain(counts, share) if share else counts) for counts in chosen]


def read_hosts(comparison: Comparison) -> Hosts:
    """Read the runs of the base that are finished.

    Raises:
        ConfigError: There are fewer than two, or they keep no pixel counts.
    """
    base = comparison.variants[0]
    seeds, counts, commits = [], [], set()
    failures: dict[int, str] = {}
    for seed in range(comparison.seeds):
        folder = comparison.run_dir(base, seed)
        if not (folder / RESULT).is_file():
            continue
        result = read_json(folder / RESULT)
        if "failure" in result:
            failures[seed] = result["failure"]
            continue
        if not (folder / AREAS).is_file():
            raise ConfigError(
                f"{folder}: the run keeps no pixel counts. The error rate is measured with "
                "segmentors; give a config with an IoUMetric."
            )
        with np.load(folder / AREAS) as file:
            counts.append(file["areas"])
        seeds.append(seed)
        commits.add(result["commit"])
    if len(seeds) < 2:
        failed = f"; {len(failures)} others have no result" if failures else ""
        raise ConfigError(f"{comparison.work_dir}: fewer than two runs are finished{failed}.")
    return Hosts(tuple(seeds), np.stack(counts), tuple(sorted(commits)), failures)


def disjoint_pairs(runs: int, seeds: int, pairs: int) -> tuple[list[tuple[Any, Any]], int]:
    """Form pairs of sets of runs; the two sets of a pair have no run in common.

    Args:
        runs: Number of runs.
        seeds: Runs in each set.
        pairs: Number of pairs.

    Returns:
        Pairs of two tuples of indices, and how many of them, the first ones, share no run with any
        other of these. The others are drawn at random from all runs, with a fixed seed.

    Raises:
        ConfigError: There are too few runs for one pair.
    """
    if runs < 2 * seeds:
        raise ConfigError(f"{runs} runs are finished; a pair of {seeds} seeds needs {2 * seeds}.")
    apart = min(pairs, runs // (2 * seeds))
    starts = range(0, apart * 2 * seeds, 2 * seeds)
    chosen = [(tuple(range(s, s + seeds)), tuple(range(s + seeds, s + 2 * seeds))) for s in starts]
    generator = np.random.default_rng(0)
    while len(chosen) < pairs:
        drawn = tuple(int(i) for i in generator.permutation(runs)[: 2 * seeds])
        chosen.append((tuple(sorted(drawn[:seeds])), tuple(sorted(drawn[seeds:]))))
    return chosen, apart


def write_error_rate(
    comparison: Comparison,
    out: Path,
    *,
    seeds: int,
    pairs: int,
    metric: str = "mIoU",
    log: Callable[[str], None] = print,
) -> Path:
    """Form pairs from the finished runs, judge each, and write what came out.

    Args:
        comparison: A comparison whose base was trained.
        out: Folder of ``README.md`` and ``pairs.json``.
        seeds: Seeds of each side of a pair.
        pairs: Number of pairs that are listed.
        metric: Metric that is compared, one of a segmentor.
        log: Called with the lines of the result.

    Returns:
        Path of ``README.md``.
    """
    hosts = read_hosts(comparison)
    times = draw_images(hosts.counts.shape[1])
    chosen, apart = disjoint_pairs(len(hosts), seeds, pairs)
    judged = [compare_counts(hosts.runs(a), hosts.runs(b), metric, times) for a, b in chosen]
    values = np.array([run.value(metric) for run in hosts.runs(range(len(hosts)))])
    hit, labelled = hosts.counts[:, :, 0].sum(axis=2), hosts.counts[:, :, 3].sum(axis=2)
    scored = labelled[0] > 0  # an image without any class that is counted has no score of its own
    scores = 100 * hit[:, scored] / labelled[:, scored]
    facts = {
        "runs": len(hosts),
        "mean": float(values.mean()),
        "std": float(values.std(ddof=1)),
        "icc": intraclass_correlation(scores),
    }
    rates = [_rates(hosts, count, metric, facts["std"]) for count in SEEDS
             if len(hosts) >= 2 * count]  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    text = _page(comparison, hosts, chosen, apart, judged, facts, rates, metric, seeds)
    with atomic_write(out / "README.md", "w") as file:
        file.write(text)
    content = {
        "facts": facts,
        "values": dict(zip(map(str, hosts.seeds), values.tolist(), strict=True)),
        "pairs": [
            {"first": a, "second": b, "mean": pair.difference.mean, "p": pair.verdict.p,
             "p_seeds": pair.difference.p_seeds, "p_images": pair.difference.p_images,
             "verdict": pair.verdict.word}
            for (a, b), pair in zip(chosen, judged, strict=True)
        ],
    }  # fmt: skip
    write_json(out / "pairs.json", content)
    log(f"{called_different(judged)} pairs of the same network called different")
    log(f"Wrote {out / 'README.md'}")
    return out / "README.md"


def mended_share(hosts: Hosts, metric: str, gain: float) -> float:
    """Return the share of wrong pixels whose mending raises the runs' mean metric by ``gain``."""
    before = float(np.mean(area_metric(hosts.counts.sum(axis=1), metric)))

    def above(share: float) -> float:
        counts = np.stack([with_gain(run, share).sum(axis=0) for run in hosts.counts])
        return float(np.mean(area_metric(counts, metric))) - before - gain

    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) < 0 else (low, middle)
    return high


def _rates(hosts: Hosts, seeds: int, metric: str, spread: float) -> list[str]:
    """Return a row of the table of rates: of random pairs, equal and with two known gains."""
    times = draw_images(hosts.counts.shape[1], _DRAWS)
    chosen = disjoint_pairs(len(hosts), seeds, RANDOM_PAIRS)[0]
    # The spread of a difference of two independent runs.
    unit = smallest_visible([0.0] * (seeds - 1) + [math.sqrt(seeds)]) or 0.0
    visible = unit * math.sqrt(2) * spread
    row = [str(seeds), _share(called_different(_judge(hosts, chosen, metric, times)).share)]
    for gain in (GAIN, visible):
        share = mended_share(hosts, metric, gain)
        found = called_higher(_judge(hosts, chosen, metric, times, share))
        row.append(_share(found.share) if gain == GAIN else f"{gain:.2f}: {_share(found.share)}")
    return row


def _judge(
    hosts: Hosts,
    chosen: Sequence[tuple[Any, Any]],
    metric: str,
    times: np.ndarray,
    share: float = 0.0,
) -> list[Pair]:
    """Judge pairs whose first side has a known gain; what a run gives is computed once."""
    values: dict[tuple[int, float], _Known] = {}

    def known(index: int, mended: float) -> _Known:
        if (index, mended) not in values:
            run = hosts.runs([index], mended)[0]
            values[index, mended] = _Known(run.value(metric), run.of_draws(metric, times))
        return values[index, mended]

    return [
        compare_counts([known(i, share) for i in a], [known(i, 0.0) for i in b], metric, times)
        for a, b in chosen
    ]


@dataclass(frozen=True)
class _Known:
    """Counts of a run whose metric and draws were computed before (``ImageCounts``)."""

    of_all: float
    drawn: np.ndarray

    @property
    def images(self) -> tuple[Any, ...]:
        return ()

    def has(self, metric: str) -> bool:
        return True

    def value(self, metric: str) -> float:
        return self.of_all

    def of_draws(self, metric: str, times: np.ndarray) -> np.ndarray:
        return self.drawn


def _share(share: float) -> str:
    return f"{share:.1%}"


def _page(
    comparison: Comparison,
    hosts: Hosts,
    chosen: Sequence[tuple[Any, Any]],
    apart: int,
    judged: Sequence[Pair],
    facts: dict[str, Any],
    rates: Sequence[list[str]],
    metric: str,
    seeds: int,
) -> str:
    """Write the page."""
    rate, first = called_different(judged), called_different(judged[:apart])
    rows = []
    for number, ((a, b), pair) in enumerate(zip(chosen, judged, strict=True), 1):
        entry = pair.difference
        names = [", ".join(str(hosts.seeds[i]) for i in side) for side in (a, b)]
        rows.append(
            [number, *names, f"{entry.mean:+.2f}", interval_text(entry.t_interval, 2),
             interval_text(entry.image_interval, 2), p_text(pair.verdict.p), pair.verdict.word]
        )  # fmt: skip
    table = markdown_table(
        ["pair", "seeds", "against", "difference", "t 95 %", "images 95 %", "p", "verdict"], rows
    )
    random = markdown_table(
        ["seeds a side", "equal networks called different", f"known gain of {GAIN:g} found",
         "smallest visible gain: found"],
        rates,
    )  # fmt: skip
    data, runs = comparison.data, len(hosts)
    shared = (
        f"Pairs 1 to {apart} share no run with each other."
        if apart < len(chosen)
        else "No two pairs share a run."
    )
    if apart < len(chosen):
        shared += (
            f" The others are drawn at random from all {runs} runs: the two sides of a pair have "
            "no seed in common, but a run is in several pairs, so these pairs are not independent "
            "of each other."
        )
    lines = [
        "# How often equal networks are called different",
        "",
        f"`{comparison.config}` trained {runs} times, {comparison.iterations} iterations each, and "
        f"compared with itself: {len(chosen)} pairs of {seeds} seeds a side, judged as `mmattn "
        "compare` judges a row. There is no difference to find.",
        "",
        f"**{rate.count} of {rate.pairs} pairs are called different ({rate.share:.1%}; goal: at "
        f"most 5 %).** Of the {first.pairs} pairs that share no run, {first}. {shared}",
        "",
        table,
        "",
        "## Many pairs of these runs",
        "",
        f"{RANDOM_PAIRS} pairs drawn at random from the same {runs} runs, for several numbers of "
        "seeds. A known gain is made by turning the same share of the wrong pixels of every image "
        "into right ones, in all runs of one side. The size that is called visible is that of "
        "the noncentral t distribution for the measured spread, and should be found in 80 %.",
        "",
        random,
        "",
        "## What was measured",
        "",
        f"- {metric} of the runs: mean {facts['mean']:.2f}, standard deviation between seeds "
        f"{facts['std']:.2f}. Intraclass correlation of the runs over images (pixel accuracy): "
        f"{facts['icc']:.2f}.",
        f"- data: {data.get('train')} training and {data.get('val')} validation images, "
        f"{data.get('classes')} classes",
        f"- commit of the runs: {', '.join(hosts.commits)}",
        *(f"- seed {seed}: no result, {why}." for seed, why in hosts.failures.items()),
        *(f"- {name}: {value}" for name, value in machine_and_versions().items()),
        "",
        "```bash",
        *comparison.commands,
        "```",
    ]
    return "\n".join(lines) + "\n"
