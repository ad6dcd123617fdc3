"""Images read and prepared by threads while the network runs, and put together to batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmattn.errors import MMAttnError
from mmattn.inference.predictor import LoadedImage

from .sources import ListedImage

Read = tuple[ListedImage, "LoadedImage | MMAttnError"]


def read_ahead(
    images: Iterable[ListedImage], load: Any, *, readers: int, ahead: int
) -> Generator[Read, None, None]:
    """Yield images with what was loaded of them, or why they cannot be read, in their order.

    Args:
        images: Images to read.
        load: ``Predictor.load_file``.
        readers: Number of threads.
        ahead: Largest number of images that are read and not taken yet.
    """
    waiting: deque[tuple[ListedImage, Future[LoadedImage]]] = deque()
    pool = ThreadPoolExecutor(readers, thread_name_prefix="mmattn-read")
    try:
        for image in images:
            waiting.append((image, pool.submit(load, Path(image.file))))
            if len(waiting) >= ahead:
                yield _taken(*waiting.popleft())
        while waiting:
            yield _taken(*waiting.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _taken(image: ListedImage, future: Future[LoadedImage]) -> Read:
    try:
        return image, future.result()
    except MMAttnError as error:
        return image, error


def batches(read: Iterable[Read], size: int) -> Iterator[list[Read]]:
    """Yield neighbours that may go through the network together, at most ``size`` of them.

    An image that cannot be read comes alone.
    """
    batch: list[Read] = []
    key: Any = None
    for image, loaded in read:
        own = None if isinstance(loaded, MMAttnError) else loaded.batch_key
        if batch and (own is None or own != key or len(batch) == size):
            yield batch
            batch = []
        batch.append((image, loaded))
        key = own
    if batch:
        yield batch
