"""What a transformation claims to be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from gradtx.kinds import checked
from gradtx.testing.law import select_claims


@checked
@dataclass(frozen=True)
class Claims:
    """The claims that `check_transformation` knows, and what holds if nothing is claimed.

    Those that are bools are claims of behavior, each checked by the law of the same name; the last
    six weaken laws that otherwise apply to all.

    Args:
        needs_params: True if `update` raises without params, False if it gives the same without.
        linear: whether u(a g + b h) = a u(g) + b u(h).
        scale_equivariant: whether u(a g) = a u(g) for a > 0.
        scale_invariant: whether u(a g) = u(g) for a > 0.
        translation_equivariant: whether updates do not depend on where the parameters are.
        leafwise: whether a leaf's update depends on that leaf alone.
        elementwise: whether an element's update depends on that element alone, so that how
            parameters are split into leaves means nothing.
        leaf_permutation_equivariant: whether leaves that change places change their updates.
        zero_is_fixed_point: whether nothing moves without gradients.
        bias_corrected: whether a constant gradient gives a constant update.
        skips_nonfinite: whether a gradient with a NaN or an infinity is skipped without a trace.
        none_gradients: whether a leaf whose gradient is `None` is passed over.
        computes_in_float32: whether bfloat16 is calculated with in float32.
        decoupled_weight_decay: c, or c by count, in u(g, p) = u(g, 0) - c p.
        masks: function from the parameters to a tree of bools; where it is False, u = g.
        frozen: function from the parameters to a tree of bools; where it is False, u = 0.
        hyperparams: arguments of the factory by name, which it also takes as JAX scalars.
        scheduled: those of `hyperparams` that may be schedules; all of them by default.
        proportional_to: the one of `scheduled` that multiplies the update.
        units: for a hyperparameter its powers of the units of parameters and of the loss, such as
            {"learning_rate": (2, -1)} of SGD and (1, 0) of Adam; {} if all are plain numbers.
        converges: r, where on a convex quadratic with curvatures from 1/4 to 1 the distance from
            the minimum falls as r^t.
        state_bytes: bytes of the state for each float32 parameter of a matrix.
        equals: a transformation that gives the same updates.
        oracle: (init(p), step(g, memory, p, t) -> (u, memory)) that gives the same updates on
            float64 NumPy arrays, one leaf at a time.
        finite: False if finite gradients may give updates that are not.
        low_precision: False if bfloat16 and float16 are not supported.
        mixed_precision: False if gradients of another dtype than the parameters are not supported.
        keeps_sharding: False if the state of a sharded parameter need not lie as it does.
        deterministic: False if two runs may differ, by noise that isn't from the state.
        tolerance: largest relative difference that is rounding, for float32.
    """

    needs_params: bool | None = None
    linear: bool = False
    scale_equivariant: bool = False
    scale_invariant: bool = False
    translation_equivariant: bool = False
    leafwise: bool = False
    elementwise: bool = False
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
    units: Mapping[str, tuple[float, float]] | None = None
    converges: float | None = None
    state_bytes: float | None = None
    equals: Any = None
    oracle: tuple[Callable, Callable] | None = None
    finite: bool = True
    low_precision: bool = True
    mixed_precision: bool = True
    keeps_sharding: bool = True
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
