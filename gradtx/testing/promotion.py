"""JAX's rules for mixed dtypes and ranks, for the time of a check."""

import contextlib
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def rules(where: str, promotion: str | None) -> Iterator[None]:
    """Set JAX's rules: "standard" or "strict"; None keeps those around.

    `where` is the function to name in the message.

    Raises:
        ValueError: for another name.
    """
    ranks = {"standard": "allow", "strict": "raise"}
    if promotion is None:
        yield
        return
    if promotion not in ranks:
        raise ValueError(
            f"{where}: `promotion` must be 'standard', 'strict' or None; got"
            f" {promotion!r}. None keeps JAX's present setting."
        )
    with jax.numpy_dtype_promotion(promotion), jax.numpy_rank_promotion(ranks[promotion]):
        yield
