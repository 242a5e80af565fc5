"""What the table has a row for: transformations with their code and claims."""

import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradtx.testing.code import expression, importable
from tests.testing.optax_transformations import (
    ADAPTIVE,
    LINEAR,
    LR,
    MATRIX,
    RATE,
    ROWS,
    by_name,
)

# The package on the index that brings a module, of those with a row.
PACKAGES = {
    "optax": "optax",
    "aura_optax": "aura-optax",
    "rollfast": "rollfast",
    "stam_optimizer": "stam-optimizer",
}
BY_NAME = '''
def by_name(tree):
    """A mask that holds for the first leaf only."""
    leaves, treedef = jax.tree.flatten(tree)
    return treedef.unflatten([i == 0 for i in range(len(leaves))])
'''


@dataclass(frozen=True)
class Entry:
    """A transformation: its name in the table, the code that makes it, and its claims.

    `code` is that of a call, `module.function(arguments)`; claimed `hyperparams` are added to it.
    """

    name: str
    code: str
    claims: Mapping[str, Any] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """The package that it is imported from."""
        return self.code.split(".")[0].split("(")[0]

    @property
    def package(self) -> str:
        """Its package on the index."""
        return PACKAGES[self.module]

    @property
    def extra(self) -> Mapping[str, Any]:
        """The arguments of every update."""
        return self.claims.get("extra_args", {})

    @property
    def imports(self) -> list[str]:
        """The modules that its code needs, beside jax and NumPy."""
        path = self.code.split("(")[0].split(".")
        return sorted({"optax", *([".".join(path[:-1])] if path[0] != "optax" else [])})

    @property
    def slug(self) -> str:
        """Its name in names of files."""
        return re.sub(r"\W+", "_", self.name)

    @property
    def installed(self) -> bool:
        """Whether its package is here."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def version(self) -> str:
        """The version of its package."""
        return importlib.metadata.version(self.package)

    def call(self, more: str = "") -> str:
        """The code, with its claimed hyperparameters or with `more` in their place."""
        given = more or ", ".join(
            f"{k}={expression(v)}" for k, v in self.claims.get("hyperparams", {}).items()
        )
        if not given:
            return self.code
        comma = "" if self.code.endswith("()") else ", "
        return f"{self.code[:-1]}{comma}{given})"

    def factory(self, **values: Any) -> Any:
        """The transformation, with hyperparameters."""
        names: dict[str, Any] = {"jax": jax, "jnp": jnp, "optax": optax, "by_name": by_name}
        names |= {module: importlib.import_module(module) for module in self.imports}
        names |= {module.split(".")[0]: importlib.import_module(module.split(".")[0])
                  for module in self.imports}  # fmt: skip
        return eval(self.call("**values") if values else self.code, names | {"values": values})


def e(name: str, code: str, /, **claims: Any) -> Entry:
    """An entry; a code without a dot at its head is of `optax`."""
    return Entry(name, code, claims)


def _code_of(factory: Any) -> str:
    if hasattr(factory, "code"):
        return factory.code
    inner = factory.func if isinstance(factory, partial) else factory
    given = [] if inner is factory else [*map(expression, factory.args)]
    given += (
        [] if inner is factory else [f"{k}={expression(v)}" for k, v in factory.keywords.items()]
    )
    found = importable(inner)
    if found is None:
        raise ValueError(f"law_table: a factory must have a public name; got {factory}.")
    return f"{found[0].split()[1]}.{found[1]}({', '.join(given)})"


def _tested() -> Iterator[Entry]:
    """The rows that gradtx's tests have."""
    for row in ROWS:
        if row.name == "inject_hyperparams":
            code = "optax.inject_hyperparams(optax.adam)()"
        else:
            code = _code_of(row.factory)
        listed = code.split("(")[0]
        name = listed + (f", {row.name.split(', ')[1]}" if ", " in row.name else "")
        yield Entry(name, code, row.claims)


FIXED = {"hyperparams": {"learning_rate": 0.1}, "scheduled": ()}
JOINT = {"leaf_permutation_equivariant": True}
LEAF = {"leafwise": True}
ZERO = {"zero_is_fixed_point": True}
VALUE = {"extra_args": {"value": jnp.float32(1.0)}}


def _rates(names: str, **claims: Any) -> Iterator[Entry]:
    """Optimizers that take a learning rate, or a schedule of it."""
    for name in names.split():
        yield e(name, f"{name}()", **RATE, **claims)


def _plain(names: str, **claims: Any) -> Iterator[Entry]:
    for name in names.split():
        yield e(name, f"{name}()", **claims)


def entries() -> list[Entry]:
    """Every row of the table, by package and name."""
    mine = [
        *_tested(),
        *_rates("optax.nadam optax.yogi optax.adan optax.radam optax.optimistic_adam_v2", **LEAF),
        *_rates("optax.nadamw optax.adamaxw", **LEAF, needs_params=True),
        *_rates("optax.amsgrad optax.sign_sgd", **ADAPTIVE),
        e("optax.adadelta", "optax.adadelta()", **LEAF, **LR),
        e("optax.optimistic_adam", "optax.optimistic_adam()", **LEAF, **FIXED),
        e("optax.noisy_sgd", "optax.noisy_sgd()", **RATE),
        e("optax.add_noise", "optax.add_noise(0.01, 0.55, 0)"),
        e("optax.lbfgs", "optax.lbfgs(0.1, linesearch=None)"),
        e("optax.scale_by_lbfgs", "optax.scale_by_lbfgs()"),
        e("optax.chain", "optax.chain(optax.clip(1.0), optax.sgd(0.1))", **LEAF),
        e("optax.named_chain", 'optax.named_chain(("a", optax.clip(1.0)), ("b", optax.sgd(0.1)))',
          **LEAF),
        e("optax.conditionally_mask",
          "optax.conditionally_mask(optax.sgd(0.1), lambda step, **extra: step < 2)", **LEAF),
        e("optax.conditionally_transform",
          "optax.conditionally_transform(optax.sgd(0.1), lambda step, **extra: step < 2)", **LEAF),
        e("optax.freeze", "optax.freeze(by_name)"),
        e("optax.selective_transform",
          "optax.selective_transform(optax.sgd(0.1), freeze_mask=by_name)"),
        e("optax.flatten", "optax.flatten(optax.sgd(0.1))", **LINEAR),
        e("optax.inject_stateful_hyperparams", "optax.inject_stateful_hyperparams(optax.adam)()",
          **LEAF, **RATE),
        e("optax.multi_transform", "optax.multi_transform({True: optax.sgd(0.1), False:"
          " optax.set_to_zero()}, by_name)", frozen=by_name),
        e("optax.snapshot", 'optax.snapshot("norm", optax.tree.norm)'),
        e("optax.stateless",
          "optax.stateless(lambda g, p: jax.tree.map(lambda x: -x, g))", **LINEAR),
        e("optax.stateless_with_tree_map",
          "optax.stateless_with_tree_map(lambda g, p: -g)", **LINEAR),
        e("optax.with_extra_args_support",
          "optax.with_extra_args_support(optax.sgd(0.1))", **LINEAR),
        e("optax.scale_by_schedule", "optax.scale_by_schedule(lambda count: 0.1 / (1 + count))",
          **LINEAR),
        e("optax.scale_by_learning_rate", "optax.scale_by_learning_rate()", **LINEAR, **RATE),
        e("optax.clip_by_block_rms", "optax.clip_by_block_rms(1.0)", **LEAF, **ZERO),
        e("optax.keep_params_nonnegative",
          "optax.keep_params_nonnegative()", **LEAF, needs_params=True),
        e("optax.zero_nans", "optax.zero_nans()", **LEAF, **ZERO),
        e("optax.set_to_zero", "optax.set_to_zero()", **LINEAR),
        e("optax.scale_by_rprop", "optax.scale_by_rprop(0.1)", **LEAF),
        *_plain("optax.scale_by_adam optax.scale_by_adamax optax.scale_by_amsgrad", **ADAPTIVE),
        e("optax.scale_by_rms", "optax.scale_by_rms(eps=1e-16)", **ADAPTIVE),
        *_plain("optax.scale_by_adadelta optax.scale_by_adan optax.scale_by_belief"
                " optax.scale_by_lion optax.scale_by_novograd optax.scale_by_radam"
                " optax.scale_by_rss optax.scale_by_stddev optax.scale_by_yogi"
                " optax.scale_by_factored_rms"
                " optax.scale_by_param_block_norm optax.scale_by_param_block_rms", **LEAF),
        e("optax.scale_by_sm3", "optax.scale_by_sm3()", **LEAF, keeps_sharding=False),
        e("optax.scale_by_optimistic_gradient", "optax.scale_by_optimistic_gradient()", **LINEAR),
        e("optax.scale_by_sign", "optax.scale_by_sign()", **ADAPTIVE),
        e("optax.scale_by_distance_over_gradients", "optax.scale_by_distance_over_gradients()"),
        e("optax.scale_by_polyak", "optax.scale_by_polyak()", **VALUE),
        *_rates("optax.contrib.ademamix", **LEAF),
        e("optax.contrib.dadapt_adamw", "optax.contrib.dadapt_adamw()"),
        e("optax.contrib.dowg", "optax.contrib.dowg()"),
        e("optax.contrib.galore", "optax.contrib.galore(rank=2)", **MATRIX, **LR),
        e("optax.contrib.scale_by_galore", "optax.contrib.scale_by_galore(rank=2)", **MATRIX),
        e("optax.contrib.mechanize", "optax.contrib.mechanize(optax.sgd(0.1))"),
        e("optax.contrib.momo", "optax.contrib.momo()", **VALUE),
        e("optax.contrib.momo_adam", "optax.contrib.momo_adam()", **VALUE),
        e("optax.contrib.sam", "optax.contrib.sam(optax.sgd(0.1), optax.chain("
          "optax.contrib.normalize(), optax.sgd(0.05)), sync_period=2)", needs_params=True),
        e("optax.contrib.schedule_free", "optax.contrib.schedule_free(optax.sgd(0.1), 0.1)"),
        e("optax.contrib.schedule_free_adamw",
          "optax.contrib.schedule_free_adamw()", tolerance=1e-3),
        e("optax.contrib.split_real_and_imaginary",
          "optax.contrib.split_real_and_imaginary(optax.adam(0.1))", **LEAF),
        *_plain("optax.contrib.scale_by_acprop optax.contrib.scale_by_ademamix"
                " optax.contrib.scale_by_adopt optax.contrib.scale_by_cocob"
                " optax.contrib.scale_by_simplified_ademamix", **LEAF),
        e("optax.contrib.scale_by_madgrad", "optax.contrib.scale_by_madgrad(0.1)", **LEAF),
        # Their polynomials and preconditioners magnify rounding.
        e("aura_optax.adam_aura", "aura_optax.adam_aura()", **LR, **LEAF),
        e("aura_optax.muon_aura", "aura_optax.muon_aura()", **LR, tolerance=1e-3, **MATRIX),
        e("aura_optax.scale_by_aura", "aura_optax.scale_by_aura()", **LEAF),
        e("rollfast.adamw", "rollfast.adamw()", **LR, **LEAF),
        e("rollfast.kron", "rollfast.kron()", **LR, keeps_sharding=False, tolerance=1e-2, **MATRIX),
        e("rollfast.prism", "rollfast.prism()", **LR, tolerance=1e-2, **MATRIX),
        e("rollfast.schedule_free_adam",
          "rollfast.schedule_free_adam(total_steps=100)", **FIXED, tolerance=1e-3),
        e("stam_optimizer.stam", "stam_optimizer.stam()", **FIXED),
        e("stam_optimizer.stam_lite", "stam_optimizer.stam_lite()", **FIXED),
    ]  # fmt: skip
    return mine


# What makes transformations and has no row, with why.
LEFT_OUT = {
    "psgd-jax 0.2.9": "does not import beside Optax 0.2.8 (`optax._src.clipping` is gone)",
    "distributed-kron 2.0.0": "does not import beside JAX 0.10.2 (`PartitionSpec[str, str]`)",
    "flashoptim-jax 0.1.0": "has no `update`",
    "optax.measure_with_ema": "gives a measure, and no updates",
    "optax.lookahead": "takes a pair of parameters, fast and slow",
    "optax.contrib.scale_by_muon": "needs a tree like the parameters; `muon` has a row",
    "optax.scale_by_backtracking_linesearch": "needs the function that is minimized",
    "optax.scale_by_zoom_linesearch": "needs the function that is minimized",
    "optax.contrib.differentially_private_aggregate": "takes a gradient for each example",
    "optax.contrib.dpsgd": "takes a gradient for each example",
    "optax.contrib.sophia": "needs the function that is minimized",
    "optax.contrib.hutchinson_estimator_diag_hessian": "needs the function that is minimized",
}
