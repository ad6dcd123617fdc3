"""An error of torch that means too few or too small images, in words of the config."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmattn.errors import ConfigError, MMAttnError

#: Beginning of what ``torch.nn.functional.batch_norm`` and ``group_norm`` say.
_ONE_VALUE = "Expected more than 1 value per channel when training"


@contextmanager
def explain_few_values() -> Iterator[None]:
    """Name the setting to change where a norm has one value to take mean and variance of.

    One image whose map is a single pixel has no variance. It is found in the step alone: the last
    batch of an epoch may be smaller than the others, and sizes of images differ.

    Raises:
        ConfigError: Instead of torch's ValueError, which names neither batch nor setting.
    """
    try:
        yield
    except ValueError as error:
        if isinstance(error, MMAttnError) or not str(error).startswith(_ONE_VALUE):
            raise
        shape = str(error).rpartition("input size")[2].strip()
        raise ConfigError(
            f"a norm of the network has one value per channel to learn from (its input is {shape}):"
            " too few images in a batch, or too small ones. Set train_dataloader.batch_size to 2 "
            "or more, train on larger images, or, if the last batch of an epoch is the only small "
            "one, set train_dataloader.drop_last=True"
        ) from error
