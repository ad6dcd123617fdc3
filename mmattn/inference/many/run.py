"""Predict the images of one shard, and write each result as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from mmattn.errors import DataError, MMAttnError
from mmattn.inference.detect import detect_pixels
from mmattn.inference.prediction_files import write_class_names
from mmattn.inference.predictor import LoadedImage, Predictor

from .journal import Journal, pin_settings
from .options import ManyOptions
from .progress import ImageCount, Progress
from .read_ahead import batches, read_ahead
from .records import RecordWriter, broken_record
from .shard import Shard
from .sources import ListedImage, ManySources


@dataclass(frozen=True)
class ShardResult:
    """Counts of a run over a shard.

    Attributes:
        images: Images that this run has predicted.
        before: Images that were finished before it.
        broken: Images of both that could not be read.
        first_broken: Reason of one of them; else empty.
    """

    images: int
    before: int
    broken: int
    first_broken: str = ""


def predict_many(
    predictor: Predictor,
    sources: ManySources,
    out: str | Path,
    options: ManyOptions | None = None,
    *,
    shard: Shard | None = None,
    model: str = "",
    log: Callable[[str], None] = lambda text: None,
    tell: Callable[[int, int, int], None] | None = None,
) -> ShardResult:
    """Predict the images of a shard that are not in ``out`` yet.

    Each image is a line of ``out/parts/part-I-of-N.jsonl`` once it is finished; label maps and
    panoptic maps are ``STEM.png``, below the sub-folders of their images. ``merge_parts`` makes one
    file of the lines. A run that was killed goes on by the same call: the images that were in the
    network are predicted again, no other ones, and none is in the results twice.

    Args:
        predictor: Model or exported file.
        sources: The images.
        out: Folder of the results.
        options: What is written, and how images are read.
        shard: Share of the images; by default all.
        model: What identifies the weights and the config: results of others are not mixed.
        log: Called with lines about the progress.
        tell: Called after each batch with the numbers of images that this run has finished, of
            those among them that cannot be read, and of those that were finished before it; then
            progress is not logged.

    Raises:
        ConfigError: The options do not go with the results, or another process has the shard.
        DataError: ``out`` is among the images or holds results of other settings, no image is
            found, two would have results of one name, or, if ``options.strict``, one cannot be
            read.
        StorageError: A result cannot be written.
    """
    options, shard, out = options or ManyOptions(), shard or Shard(), Path(out)
    sources.refuse_results_among_images(out)
    _pin(out, predictor, options, model, sources.base)
    journal = Journal(out, shard)
    try:
        return _Run(predictor, sources, out, options, shard, journal, log, tell)()
    finally:
        journal.close()


def _pin(out: Path, predictor: Predictor, options: ManyOptions, model: str, base: str) -> None:
    settings: dict[str, Any] = {
        "result": predictor.result,
        "format": options.format_of(predictor.result),
        "model": model,
        "classes": list(predictor.classes),
        # Names are relative to it: below another folder a name is another image.
        "folder of images": base,
    }
    if predictor.result == "boxes":
        settings["detection"] = asdict(options.detection)
    if predictor.result == "segments":
        settings["things"] = list(predictor.things)  # type: ignore[attr-defined]
    pin_settings(out, settings)
    if predictor.result == "classes":
        write_class_names(predictor.classes, out)


class _Run:
    def __init__(
        self,
        predictor: Predictor,
        sources: ManySources,
        out: Path,
        options: ManyOptions,
        shard: Shard,
        journal: Journal,
        log: Callable[[str], None],
        tell: Callable[[int, int, int], None] | None,
    ) -> None:
        self.predictor, self.options, self.journal, self.log = predictor, options, journal, log
        self.sources, self.shard, self.tell = sources, shard, tell
        self.writer = RecordWriter(predictor, out, options)
        self.finished = self.broken = 0
        self.first_broken = ""

    def __call__(self) -> ShardResult:
        self._say_what_was_done()
        images = self._left()
        first = next(images, None)
        if first is not None:
            self._predict_all(chain([first], images))
        self.journal.finish()
        broken = self.broken + self.journal.broken_count
        reason = self.first_broken or next(iter(self.journal.broken), "")
        return ShardResult(self.finished, self.journal.done, broken, reason)

    def _say_what_was_done(self) -> None:
        journal = self.journal
        if self.options.strict and journal.broken:
            raise DataError(f"--strict: {journal.broken[0]} ({journal.path})")
        if journal.cut:
            self.log(f"{journal.path}: cut {journal.cut} bytes of a line that was not complete")
        if journal.done:
            self.log(f"{journal.done:,} images are finished already")

    def _left(self) -> Iterator[ListedImage]:
        different = self.predictor.result != "boxes" or self.options.draw
        for image in self.sources.images(self.shard, different_stems=different):
            if image.name not in self.journal:
                yield image

    def _predict_all(self, images: Iterator[ListedImage]) -> None:
        options = self.options
        count = ImageCount(self.sources, self.shard)
        if self.tell is None:
            count.start()
        progress = Progress(self.log, lambda: count.total, before=self.journal.done)
        ahead = options.readers + 2 * options.batch
        read = read_ahead(images, self._load, readers=options.readers, ahead=ahead)
        try:
            for batch in batches(read, options.batch):
                self._predict(batch)
                if self.tell is None:
                    progress.update(self.finished, self.broken)
                else:
                    self.tell(self.finished, self.broken, self.journal.done)
        finally:
            read.close()
        if self.tell is None:
            self.log(progress.describe(self.finished, self.broken))

    def _load(self, file: Path) -> LoadedImage:
        if self.options.detection.tile is None:
            return self.predictor.load_file(file)
        from mmattn.images import read_image

        return LoadedImage(None, read_image(file))

    def _predict(self, batch: list[tuple[ListedImage, LoadedImage | MMAttnError]]) -> None:
        image, loaded = batch[0]
        if isinstance(loaded, MMAttnError):
            if self.options.strict:
                raise loaded
            self.broken += 1
            self.first_broken = self.first_broken or str(loaded)
            self.journal.add(broken_record(image, str(loaded)))
            self.finished += 1
            return
        group = [one for _, one in batch if isinstance(one, LoadedImage)]
        for (image, _), one, result in zip(batch, group, self._results(group), strict=True):
            self.journal.add(self.writer(image, one.pixels, result))
            self.finished += 1

    def _results(self, group: list[LoadedImage]) -> list[Any]:
        if self.options.detection.tile is None:
            return self.predictor.predict_loaded(group)
        detection = self.options.detection
        return [detect_pixels(self.predictor, one.pixels, detection) for one in group]
