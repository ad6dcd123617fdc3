"""Files that a metric writes, one for each image and never two under one name."""

from __future__ import annotations

from mmengine.dist import all_gather_object

from mmattn.errors import DataError


class ClaimedFiles:
    """Remembers which image a file is of.

    Args:
        what: What the files are, for the message.
        advice: What to do where two images have one file, for the message.
    """

    def __init__(self, what: str, advice: str) -> None:
        self._what, self._advice = what, advice
        self._images: dict[str, str] = {}

    def claim(self, file: str, image: str) -> None:
        """Give a file to an image.

        Raises:
            DataError: It is another image's.
        """
        other = self._images.setdefault(file, image)
        if other != image:
            raise DataError(
                f"{image} and {other} would both be written to the {self._what} {file}. "
                f"{self._advice}"
            )

    def check_processes(self) -> None:
        """Check that no two processes wrote the same file; all of them have to call this.

        Raises:
            DataError: Two did, for different images.
        """
        for images in all_gather_object(self._images):
            for file, image in images.items():
                self.claim(file, image)
