"""Mixed precision: which dtype parameters, arithmetic and results have."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.tree import PyTree, cast_like
from gradtx.kinds import checked

NAMES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


@dataclass(frozen=True)
class Policy:
    """The dtypes of the parameters, of what the model computes, and of what it returns.

    `Policy.of("bf16")` and `Policy.of("f16")` compute in half the width and keep the parameters,
    and with them the optimizer's state, in float32.

    Args:
        param: dtype of the parameters.
        compute: dtype of what the model computes in: parameters and batch are cast to it.
        output: dtype of the prediction that the loss is given.

    Raises:
        ValueError: if one is no real floating dtype.

    Source: Micikevicius et al. (2018), "Mixed Precision Training", section 3.1.
    """

    param: Any = jnp.float32
    compute: Any = jnp.float32
    output: Any = jnp.float32

    def __post_init__(self) -> None:
        for field in fields(self):
            dtype = jnp.dtype(getattr(self, field.name))
            if not jnp.issubdtype(dtype, jnp.floating):
                raise ValueError(
                    f"Policy: `{field.name}` must be a floating dtype; got {dtype}. Use float32,"
                    " bfloat16 or float16."
                )
            object.__setattr__(self, field.name, dtype)

    @classmethod
    def of(cls, name: str) -> "Policy":
        """The policy that computes in f32, bf16 or f16.

        >>> Policy.of("bf16").compute
        dtype(bfloat16)

        Args:
            name: "f32", "bf16" or "f16".

        Raises:
            ValueError: for another name.
        """
        if name not in NAMES:
            raise ValueError(
                f"Policy.of: `name` must be one of {', '.join(NAMES)}; got {name!r}. Use one of"
                " them, or Policy(compute=...)."
            )
        return cls(compute=NAMES[name])

    @property
    def needs_loss_scaling(self) -> bool:
        """Whether small gradients vanish in `compute`, so that `loss_scaling` should be on."""
        return bool(jnp.finfo(self.compute).minexp > jnp.finfo(jnp.float32).minexp)


def cast_floating(tree: PyTree, dtype: Any) -> PyTree:
    """Cast the real floating leaves of `tree`, and leave integers, keys and the like alone.

    Args:
        tree: any pytree of arrays and numbers.
        dtype: the floating dtype to cast to.
    """

    def cast(x: Any) -> Any:
        floating = jnp.issubdtype(jnp.result_type(x), jnp.floating)
        return jnp.asarray(x, dtype) if floating else x

    return jax.tree.map(cast, tree)


@checked
def with_policy(apply: Callable[..., Any], policy: Policy) -> Callable[..., Any]:
    """A loop's `apply` that computes in the policy's dtype.

        pred, model_state' = apply(compute(params), model_state, compute(batch))
        return output(pred), model_state' in the dtypes of model_state

    Parameters and the floating entries of the batch are cast on the way in, so gradients come out
    in the parameters' own dtype. Batch statistics and a recurrent state are passed as they are and
    keep their dtype: they are sums over many steps. The loss sees the original batch and the cast
    prediction. A Flax module must not have a `dtype` of its own, which would undo the cast.

    Args:
        apply: the model, as `Loop` takes it: `apply(params, model_state, batch, *, key, training)`
            returns the prediction and the next model state.
        policy: which dtypes to compute in and to return.

    Source: Micikevicius et al. (2018), "Mixed Precision Training", section 3.1.
    """

    @wraps(apply)
    def wrapped(params: PyTree, model_state: PyTree, batch: Any, **how: Any):
        low = cast_floating((params, batch), policy.compute)
        pred, new = apply(low[0], model_state, low[1], **how)
        return cast_floating(pred, policy.output), cast_like(new, model_state)

    return wrapped
