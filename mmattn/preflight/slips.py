"""Tell a misspelt name from another name.

``did_you_mean`` cannot decide this: with difflib's ratio every cutoff that lets single slips
(``mdoel``: 0.8) be found also refuses variables of upstream's configs (``val_evaluator_abs``:
0.87). A suggestion may be wrong, a refusal may not.
"""

from __future__ import annotations


def is_slip(word: str, known: str) -> bool:
    """Return whether ``word`` is one slip away from ``known``, two in long names.

    Names of up to four letters are never taken for slips of each other.
    """
    slips = 2 if len(known) >= 10 else 1
    if len(known) <= 4 or abs(len(word) - len(known)) > slips:
        return False
    return 0 < slip_distance(word, known) <= slips


def slip_distance(a: str, b: str) -> int:
    """Count letters added, dropped, changed or swapped with a neighbour (string alignment)."""
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
