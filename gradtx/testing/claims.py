"""What a transformation claims to be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from gradtx.testing.law import select_claims


@dataclass(frozen=True)
class Claims:
    """The claims that `check_transformation` knows, and what holds if nothing is claimed.

    Claims of behavior, each checked by the law of the same name:
        linear, scale_equivariant, scale_invariant, translation_equivariant, leafwise,
        leaf_permutation_equivariant, zero_is_fixed_point, bias_corrected, skips_nonfinite,
        none_gradients, computes_in_float32

    Claims with a value:
        needs_params            True: update raises without params; False: gives the same without
        decoupled_weight_decay  c, or c by count, in u(g, p) = u(g, 0) - c p
        masks, frozen           params -> a tree of bools; where it is False, u = g or u = 0
        hyperparams             {name: value}: arguments of the factory, also as JAX scalars
        scheduled               those of `hyperparams` that may be schedules
        proportional_to         the one of `scheduled` that multiplies the update
        equals                  a transformation that gives the same updates
        oracle                  (init(p), step(g, memory, p, t) -> (u, memory)) on float64 NumPy
                                arrays, one leaf at a time

    Claims that weaken laws that otherwise apply to all:
        finite=False            finite gradients may give updates that are not
        low_precision=False     bfloat16 and float16 are not supported
        mixed_precision=False   ... with gradients of another dtype than the parameters
        deterministic=False     two runs may differ (noise that isn't from the state)
        tolerance               relative, for float32; 1e-5
    """

    needs_params: bool | None = None
    linear: bool = False
    scale_equivariant: bool = False
    scale_invariant: bool = False
    translation_equivariant: bool = False
    leafwise: bool = False
    leaf_permutation_equivariant: bool = False
    zero_is_fixed_point: bool = False
    bias_corrected: bool = False
    skips_nonfinite: bool = False
    none_gradients: bool = False
    computes_in_float32: bool = False
    decoupled_weight_decay: float | Callable[[int], float] | None = None
    masks: Callable[[Any], Any] | None = None
    frozen: Callable[[Any], Any] | None = None
    hyperparams: Mapping[str, float] = field(default_factory=dict)
    scheduled: Sequence[str] | None = None
    proportional_to: str | None = None
    equals: Any = None
    oracle: tuple[Callable, Callable] | None = None
    finite: bool = True
    low_precision: bool = True
    mixed_precision: bool = True
    deterministic: bool = True
    tolerance: float = 1e-5

    @property
    def schedules(self) -> tuple[str, ...]:
        """The hyperparameters that may be schedules: all of them, unless said otherwise."""
        return tuple(self.hyperparams if self.scheduled is None else self.scheduled)


def make_claims(where: str, claims: Mapping[str, Any]) -> Claims:
    """Claims from keyword arguments.

    Raises:
        TypeError: for a name that is no claim, with the nearest and all known ones.
        ValueError: if `scheduled` or `proportional_to` names no runtime hyperparameter.
    """
    select_claims(where, claims, {f.name: None for f in fields(Claims)})
    made = Claims(**claims)
    wanted = [*made.schedules, *([made.proportional_to] if made.proportional_to else [])]
    for name in wanted:
        if name not in made.schedules or name not in made.hyperparams:
            raise ValueError(
                f"{where}: `scheduled` and `proportional_to` must name runtime hyperparameters; got"
                f" `{name}`, hyperparams: {sorted(made.hyperparams)}. Add it, as in"
                f" hyperparams={{{name!r}: 0.1}}."
            )
    return made
