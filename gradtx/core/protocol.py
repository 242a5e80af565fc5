"""The type of every transformation: Optax's, with trees that a type checker lets the user use."""

from typing import TYPE_CHECKING, Any, Protocol

import optax

from gradtx.core.tree import PyTree

if TYPE_CHECKING:

    class _Init(Protocol):
        def __call__(self, params: PyTree) -> Any: ...

    class _Update(Protocol):
        def __call__(
            self, updates: PyTree, state: Any, params: PyTree = None, **extra_args: Any
        ) -> tuple[PyTree, Any]: ...

    class GradientTransformationExtraArgs(optax.GradientTransformationExtraArgs):
        """Optax's type, whose trees are `Any`; its own make an error of `updates["w"]`."""

        init: _Init  # pyright: ignore[reportIncompatibleVariableOverride]
        update: _Update  # pyright: ignore[reportIncompatibleVariableOverride]

else:
    GradientTransformationExtraArgs = optax.GradientTransformationExtraArgs
