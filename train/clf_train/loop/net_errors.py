"""What a net raises while it is trained, as one error that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from clf_train.errors import FactoryError, TrainError
from clf_train.loop.distributed import is_of_the_network
from clf_train.models.own import describe_error, location
from clf_train.models.registry import Model, is_own


@contextmanager
def explaining_net_errors(model: Model) -> Iterator[None]:
    """Turn exceptions in a training into TrainError: out of GPU memory, or a user's net that fails."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise TrainError("not enough GPU memory: choose a smaller --batch-size") from None
    except Exception as error:
        if isinstance(error, TrainError) or not is_own(model) or is_of_the_network(error):
            raise
        if location(error) is None and not isinstance(error, (RuntimeError, ValueError, TypeError)):
            raise  # a full disk, for example
        raise FactoryError(f"{model}: fails in training: {describe_error(error)}") from None
