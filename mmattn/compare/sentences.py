"""What a comparison found, in plain sentences: one for each block, and what the controls say."""

from __future__ import annotations

from .plan import widening_of
from .results import ComparisonResults, Row
from .statistics import Verdict
from .summary import interval_text, p_text
from .variants import OTHER_SEEDS, wider_host


def sentences(results: ComparisonResults) -> list[str]:
    """Write one sentence for each row with a block."""
    return [_sentence(row, results) for row in results.blocks]


def _sentence(row: Row, results: ComparisonResults) -> str:
    entry, verdict, digits = row.vs_base, row.verdict, results.digits
    seeds = len(entry.per_seed)
    if verdict.p is None:
        text = f"{row.label}: {verdict.word} ({entry.mean:+.{digits}f} {results.metric})."
        return text + _latency(row, results.base)
    where = f"t over {seeds} seeds {interval_text(entry.t_interval, digits)}"
    if entry.image_interval is not None:
        where += f", images {interval_text(entry.image_interval, digits)}"
    corrected = f" after Holm's correction for {verdict.rows} rows" if verdict.rows > 1 else ""
    numbers = (
        f"{entry.mean:+.{digits}f} {results.metric}, {where}, p {p_text(verdict.p)}{corrected}"
    )
    text = f"{row.label}: {_words(verdict)} ({numbers})"
    visible = f"{verdict.visible:.{digits}f}"
    text += f"; with these seeds a difference below {visible} is invisible."
    return (
        text
        + _against_wider(row, digits)
        + _in_equal_time(row, digits)
        + _latency(row, results.base)
    )


def _words(verdict: Verdict) -> str:
    if verdict.different:
        return f"{verdict.word} than the host without it"
    return verdict.word


def _against_wider(row: Row, digits: int) -> str:
    if row.vs_wider is None or row.wider_verdict is None:
        return ""
    numbers = f"{row.vs_wider.mean:+.{digits}f}, p {p_text(row.wider_verdict.p)}"
    word = row.wider_verdict.word
    said = f"{word} than" if row.wider_verdict.different else f"{word} of"
    return f" It is {said} the {row.wider} ({numbers})."


def _in_equal_time(row: Row, digits: int) -> str:
    """Write what the row's step costs, and what it reaches in the base's time."""
    if row.ratio is None or row.equal_time is None or row.equal_time.vs_base is None:
        return ""
    mean = row.equal_time.vs_base.mean
    return f" Its step takes {row.ratio:.2f} times as long; in equal time it is {mean:+.{digits}f}."


def _latency(row: Row, base: Row) -> str:
    """Write a sentence about the latency of a variant."""
    if base.cost is None or row.cost is None:
        return ""
    middle, (low, high) = row.latency_difference(base)
    numbers = f"{1e3 * middle:+.2f} ms [{1e3 * low:+.2f}, {1e3 * high:+.2f}]"
    if low <= 0 <= high:
        return f" Its latency differs within noise ({numbers})."
    return f" Its latency is {'higher' if middle > 0 else 'lower'} ({numbers})."


def controls(results: ComparisonResults) -> list[str]:
    """Write what each control says, and which ones are missing and why."""
    comparison, lines = results.comparison, []
    for row in results.controls:
        entry, verdict, digits = row.vs_base, row.verdict, results.digits
        numbers = (
            f"{entry.mean:+.{digits}f} {results.metric}, t "
            f"{interval_text(entry.t_interval, digits)}, p {p_text(verdict.p)}, not corrected"
        )
        text = f"- {row.label}: {verdict.word} ({numbers})."
        if row.label == OTHER_SEEDS and verdict.different:
            text += (
                " It is the same network, so this is chance, which is to be expected in one of "
                "twenty comparisons: take the verdicts above with care, and more seeds."
            )
        elif row.label == OTHER_SEEDS:
            text += " It is the same network: so far do two sets of seeds differ by chance."
        else:
            text += _for_which(row, results)
        lines.append(text)
    if not comparison.controls:
        lines.append("- None were trained (--no-controls): a difference may be one of size alone.")
    for label, reason in comparison.no_width.items():
        lines.append(f"- {label} has no wider host beside it: {reason}.")
    return lines


def _for_which(row: Row, results: ComparisonResults) -> str:
    """Say how many parameters a wider host has more, and which blocks are compared with it."""
    entry = next(
        (known for known in results.comparison.widenings
         if wider_host(widening_of(known)).label == row.label),
        None,
    )  # fmt: skip
    if entry is None:
        return ""
    return f" It has {entry['adds']:+,} parameters, and is the control of {', '.join(entry['of'])}."
