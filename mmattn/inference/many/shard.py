"""Which images are whose, where several processes or machines share a folder of images."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from mmattn.errors import ConfigError


@dataclass(frozen=True)
class Shard:
    """One of ``count`` shares of all images.

    An image belongs to the shard that the checksum of its name says. So processes need not agree
    about a list, and images that are added meanwhile never belong to two of them.

    Attributes:
        index: Number of the shard, from 0 on.
        count: Number of shards.
    """

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def owns(self, stem: str) -> bool:
        """Return whether an image is this shard's by its name without ending.

        Without, because ``a.jpg`` and ``a.png`` would have one label map, which one shard has to
        notice.
        """
        if self.count == 1:
            return True
        return zlib.crc32(os.fsencode(stem)) % self.count == self.index

    def split(self, number: int) -> list[Shard]:
        """Return ``number`` shards that share this one's images.

        >>> [str(shard) for shard in Shard(1, 2).split(3)]
        ['1/6', '3/6', '5/6']
        """
        return [Shard(self.index + self.count * i, self.count * number) for i in range(number)]


def read_shard(text: str) -> Shard:
    """Return the shard ``I/N``.

    Raises:
        ConfigError: It is not one.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise ConfigError(
            f"--shard {text}: give I/N, of which I counts from 0 to N - 1, such as 0/4 for the "
            "first of four"
        )
    return Shard(int(match[1]), int(match[2]))


def launched_shard(environment: Mapping[str, str] = os.environ) -> tuple[Shard, str] | None:
    """Return the shard of a process that torchrun or srun has started, and the starter's name.

    Within the script of a SLURM job, outside of srun, there is one process whatever the job asked
    for: the variables of a step tell the two apart.

    Returns:
        None where neither has started more than one process.
    """
    for starter, step, index, counts in (
        ("torchrun", "TORCHELASTIC_RUN_ID", "RANK", ("WORLD_SIZE",)),
        ("srun", "SLURM_STEP_ID", "SLURM_PROCID", ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")),
    ):
        count = next((environment[name] for name in counts if name in environment), "1")
        if step in environment and index in environment and int(count) > 1:
            return Shard(int(environment[index]), int(count)), starter
    return None


def processes_here(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many processes of a launcher share the cores that this process may use.

    srun may have bound each of its tasks to cores of its own, which nobody else shares.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        return int(environment.get("LOCAL_WORLD_SIZE", "1"))
    tasks = environment.get("SLURM_STEP_TASKS_PER_NODE")
    if "SLURM_STEP_ID" not in environment or not tasks or _is_bound():
        return 1
    counts: list[int] = []  # "4(x2),1" are 4, 4 and 1
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", tasks):
        counts += [int(count)] * int(times or 1)
    node = int(environment.get("SLURM_NODEID", "0"))
    return counts[node] if node < len(counts) else 1


def _is_bound() -> bool:
    """Return whether this process may use some of the machine's cores alone."""
    if not hasattr(os, "sched_getaffinity"):
        return False
    return len(os.sched_getaffinity(0)) < (os.cpu_count() or 1)


def local_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of this process among those of its machine, which chooses its GPU."""
    return int(environment.get("LOCAL_RANK", environment.get("SLURM_LOCALID", "0")))
