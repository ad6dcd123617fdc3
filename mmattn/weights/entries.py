"""One entry of the index: what weights are called, where they come from, and what is known of them.

What is not known is None, and commands say "not known"; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: SPDX names of licences that ask for no more than a notice.
PERMISSIVE = ("Apache-2.0", "BSD-3-Clause", "CC0-1.0", "MIT")
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class HubFile:
    """File in a repository of the Hugging Face hub.

    Attributes:
        repo: ``owner/name``.
        revision: Commit, 40 hexadecimal digits; None where no commit is known, then the newest one
            is looked up and recorded.
        file: Path inside the repository.
    """

    repo: str
    revision: str | None
    file: str


@dataclass(frozen=True)
class Address:
    """File behind an address, ``http://`` or ``https://``."""

    url: str


@dataclass(frozen=True)
class Licence:
    """Licence of weights, which may differ from that of the code.

    Attributes:
        spdx: SPDX name; None for a licence without one.
        text: What the source says where there is no SPDX name.
        url: Page that says so.
        non_commercial: Whether commercial use is excluded.
        gated: Whether the source asks for an account that has accepted the terms.
        unclear: Whether the source contradicts itself, or says nothing.
    """

    spdx: str | None
    text: str | None
    url: str
    non_commercial: bool = False
    gated: bool = False
    unclear: bool = False

    @property
    def name(self) -> str:
        """Short name, for tables."""
        return self.spdx or self.text or NOT_KNOWN

    @property
    def asks(self) -> bool:
        """Whether the user has to accept it: it is no permissive one, or nobody can say which."""
        special = self.non_commercial or self.gated or self.unclear
        return special or self.spdx not in PERMISSIVE

    def __str__(self) -> str:
        """Name, what is special about it, and the page."""
        flags = {
            "non-commercial": self.non_commercial,
            "gated": self.gated,
            "unclear": self.unclear,
        }
        said = ", ".join(name for name, set_ in flags.items() if set_)
        return f"{self.name}{said and f' ({said})'}, {self.url}"


@dataclass(frozen=True)
class Metric:
    """Quality of the weights.

    Attributes:
        name: Name of the metric, such as ``mIoU``.
        paper: Value that the paper reports.
        upstream: Value that the publisher of the file reports.
        measured_here: Value that was measured with mmattn: ``value``, ``commit`` and ``cmd``.
    """

    name: str
    paper: float | None = None
    upstream: float | None = None
    measured_here: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Entry:
    """Weights that can be asked for by name.

    Attributes:
        name: Name in the index; the stem of the config where there is one.
        system: Network or block that they are of, such as ``CCNet``.
        task: What the network does.
        dataset: Dataset of the training.
        file: Name of the source's file, here and in a mirror.
        sources: Places to download it from, the best first; empty where a person has to.
        page: Page about the weights.
        size: Bytes of the file.
        sha256: SHA-256 of the file.
        sha256_prefix: Its first digits, which OpenMMLab's and torch's names carry.
        layout: Whose names the weights have.
        converter: Converter that is applied on arrival; None where the names are ours already.
        config: Config of the network, for ``mmattn predict NAME``; None for backbones.
        licence: Licence of the weights.
        metric: Quality; None where nobody says.
        index: File that the entry is in.
    """

    name: str
    system: str
    task: str
    dataset: str
    file: str
    licence: Licence
    layout: str
    sources: tuple[HubFile | Address, ...] = ()
    page: str | None = None
    size: int | None = None
    sha256: str | None = None
    sha256_prefix: str | None = None
    converter: str | None = None
    config: str | None = None
    metric: Metric | None = None
    index: str = field(default="", compare=False)

    @property
    def digest(self) -> str | None:
        """What is known of the SHA-256: all of it, its first digits, or None."""
        return self.sha256 or self.sha256_prefix
