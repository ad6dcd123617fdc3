"""Build the training loader of a runner so that it knows the position of each batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import BatchSampler

from mmattn.data.positions import PositionedBatches, PositionLoader, why_not_positioned
from mmattn.data.worker_signals import spare_workers

if TYPE_CHECKING:
    from mmengine.runner import Runner


class KnowsOffset(Protocol):
    """A hook that knows how many batches of the current epoch an earlier run has seen."""

    offset: int


def load_by_position(runner: Runner, hook: KnowsOffset) -> None:
    """Let ``runner`` build a training loader that ``hook`` can move to any position.

    The config stays as it is. Worker processes of all its loaders ignore the signals that stop a
    training, so that they serve it until it has stopped.

    Args:
        runner: Runner whose training has not begun.
        hook: ``ExactResumeHook`` of the runner.
    """
    build_loader, build_loop = runner.build_dataloader, runner.build_train_loop

    def build_dataloader(*args: Any, **kwargs: Any) -> Any:
        loader = build_loader(*args, **kwargs)
        spare_workers(loader)
        return loader

    def build_train_loop(cfg: Any) -> Any:
        loop = build_loop(cfg)
        if _why_not(loop) or isinstance(loop.dataloader, PositionLoader):
            return loop
        endless = isinstance(loop, IterBasedTrainLoop)
        loop.dataloader = PositionLoader.of(
            loop.dataloader,
            seed_of_all(runner),
            endless=endless,
            rank=runner.rank,
            world_size=runner.world_size,
        )
        if endless:
            loop.dataloader_iterator = PassedBatches(loop.dataloader)
        else:
            run_iter = loop.run_iter
            # Hooks are told the number in the epoch, also behind a resume in the middle of it.
            loop.run_iter = lambda idx, data_batch: run_iter(idx + hook.offset, data_batch)
        return loop

    # On the instance, where the loops ask.
    vars(runner).update(build_dataloader=build_dataloader, build_train_loop=build_train_loop)


def why_not_by_position(runner: Runner) -> str:
    """Return why the batches of a built training have no position; "" where they have."""
    return _why_not(runner.train_loop)


def _why_not(loop: Any) -> str:
    if not isinstance(loop, EpochBasedTrainLoop | IterBasedTrainLoop):
        return f"its loop is a {type(loop).__name__}"
    return why_not_positioned(loop.dataloader)


def seed_of_all(runner: Runner) -> int:
    """Return the seed that all processes of a run have in common."""
    apart = runner._randomness_cfg.get("diff_rank_seed", False)
    return int(runner.seed) - (runner.rank if apart else 0)


def reseed(runner: Runner, loader: PositionLoader) -> None:
    """Give the sampler the seed of the run, which may be that of the run that is resumed.

    mmengine builds the sampler before it reads the checkpoint; with ``diff_rank_seed`` it draws a
    seed that no checkpoint has.
    """
    given, seed = runner._train_dataloader, seed_of_all(runner)
    cfg = given if isinstance(given, dict) else {}
    sampler = getattr(loader.batch_sampler, "sampler", None)
    if sampler is None or getattr(sampler, "seed", seed) == seed:
        return
    if not isinstance(cfg.get("sampler"), dict):
        sampler.seed = seed
        return
    dataset = getattr(sampler, "dataset", loader.dataset)
    new = DATA_SAMPLERS.build(cfg["sampler"], default_args={"dataset": dataset, "seed": seed})
    old: Any = loader.batch_sampler
    if isinstance(cfg.get("batch_sampler"), dict):
        batches = DATA_SAMPLERS.build(
            cfg["batch_sampler"],
            default_args={"sampler": new, "batch_size": cfg.get("batch_size", old.batch_size)},
        )
    else:
        batches = BatchSampler(new, old.batch_size, old.drop_last)
    positions = loader.positions
    vars(loader).update(
        sampler=new if loader.batch_size is not None else loader.sampler,
        batch_sampler=batches,
        positions=PositionedBatches(
            batches,
            seed,
            endless=positions.endless,
            rank=positions.rank,
            world_size=positions.world_size,
        ),
    )


class PassedBatches:
    """The batches of an endless loader, for mmengine's loop that counts iterations.

    Its own iterator restarts the workers at each pass over the data, and reads the batches that a
    resumed run has seen.

    Args:
        loader: Loader that has been moved to its position when the first batch is asked for.
    """

    def __init__(self, loader: PositionLoader) -> None:
        self._loader = loader
        self._iterator: Iterator[Any] | None = None
        self._to_pass = 0

    def __iter__(self) -> PassedBatches:
        return self

    def __next__(self) -> Any:
        if self._to_pass:
            self._to_pass -= 1
            return None
        if self._iterator is None:
            self._iterator = iter(self._loader)
        return next(self._iterator)

    def resume_at(self, step: int) -> None:
        """Expect what the loop does at a resume; the loader stands behind ``step`` batches."""
        # The original mmengine asks for each of them; the fork calls `skip_iter`.
        self._to_pass = 0 if hasattr(_InfiniteDataloaderIterator, "skip_iter") else step

    def skip_iter(self, num_iters: int) -> None:
        """Do nothing: the loader stands behind them already."""
