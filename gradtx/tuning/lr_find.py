"""Find a learning rate: train on a copy while the rate rises, and look at the losses."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.runtime_hyperparams import set_hyperparams
from gradtx.core.tree import bias_correction, select
from gradtx.kinds import checked
from gradtx.loop import Hook, Loop, Observer, Request, StepContext, TrainState, fit
from gradtx.loop.fit import Batches
from gradtx.loop.state import SMOOTHING
from gradtx.tuning.advice import usable, valley_of
from gradtx.tuning.found import LrFind

NAME = "lr_find"
EARLY = 10  # losses that the height is made of at least
SLIDE_WIDTH = 15
SLIDE_THRESHOLD = 0.005


class _Sweep(NamedTuple):
    """What the stop rule remembers; all but `first` less the first loss: so a constant cancels."""

    count: jax.Array  # int32[]: batches so far
    losses: jax.Array  # int32[]: losses among them
    first: jax.Array  # float32[]: the first loss
    average: jax.Array  # float32[]: decaying sum of the losses
    best: jax.Array  # float32[]: least smooth loss so far
    low: jax.Array  # float32[]: least loss so far
    total: jax.Array  # float32[]: sum of the losses
    height: jax.Array  # float32[]: mean loss - low, when `best` was reached


@checked
def lr_find(
    loop: Loop,
    state: TrainState,
    train: Batches,
    *,
    start: float = 1e-7,
    end: float = 10.0,
    steps: int = 100,
    stop: float = 4.0,
    observers: Sequence[Observer] = (),
) -> LrFind:
    """Train a copy of `state` with a learning rate that rises from step to step.

        learning_rate_i = start (end / start)^(i / steps)        i = 0 ... steps - 1
        losses_i        = the smooth training loss after step i (decay 0.98, debiased)

    It stops early once the smooth loss is not finite, or has risen far above its least value:

        losses_i - losses_b > (stop - 1) height        b = argmin_{j <= i} losses_j
        height = mean - min of raw_losses up to step b, of the first tenth or 10 at least

    So neither the sign of a loss nor a constant added to it matters. fastai has losses_b in place
    of `height`, which takes a loss to be positive, with 0 as its least value.

    The loop's hooks run, but for those that judge whole epochs (`Hook.per_epoch`), and none can
    change the learning rate. All groups of a learning rate by group get the same. It is one
    compiled step for all rates.

    Args:
        loop: what is trained; it stays as it is.
        state: one of this loop; it stays as it is.
        train: batches as `fit` takes them; they repeat, an epoch after another, when one epoch has
            fewer than `steps`.
        start: the first learning rate, positive.
        end: the learning rate that the last step nearly reaches, above `start`.
        steps: at most so many, at least 10.
        stop: how far the smooth loss may rise, by `stop - 1` times the height; above 1.
        observers: told of the fit's progress.

    Raises:
        ValueError: if `start`, `end`, `steps` or `stop` make no sweep, if the optimizer has no
            learning rate that can be set, or if the loss was not finite so soon that there is no
            curve.

    Source: Smith (2017), "Cyclical Learning Rates for Training Neural Networks", section 3.3; the
    smoothing is fastai's.
    """
    _check(state, start, end, steps, stop)
    rates = start * (end / start) ** (np.arange(steps) / steps)
    fresh = state.replace(
        level=jnp.zeros_like(state.level), requested=jnp.zeros_like(state.requested)
    )
    loop = replace(loop, hooks=[hook for hook in loop.hooks if not hook.per_epoch])
    # Last in the list and bound to no other, so it overrules a hook that sets the rate itself.
    sweeping, fresh = loop.with_hooks(loop.without_hooks(fresh), [_sweep(rates, stop)])
    # An epoch has one batch at least, so the sweep always ends before the epochs do.
    _, history = fit(sweeping, fresh, train, epochs=steps, observers=observers)
    raw, seen = (history.steps[name].astype(np.float64) for name in ("loss", "train_loss"))
    losses = _smooth(raw, ~np.isnan(raw) | np.isnan(seen))
    losses[-1] = np.nan if np.isnan(raw[-1]) else losses[-1]
    rates = rates[: len(losses)]
    if len(usable(losses, steps)) < 2 and np.isfinite(raw).all():
        raise ValueError(
            f"lr_find: nothing but a loss that blows up may end the sweep; a hook ended it at step"
            f" {len(losses)} of {steps}. Leave that hook out of the loop, or make it with"
            " `per_epoch=True`."
        )
    if len(usable(losses, steps)) < 2:
        raise ValueError(
            f"lr_find: the loss must stay finite long enough for a curve; the sweep ended at step"
            f" {len(losses)} of {steps}, at the learning rate {rates[-1]:.3g}, with the losses"
            f" {_some(raw)}. Lower `start`, or look for the NaN in the model or the data."
        )
    return LrFind(rates, losses, raw, suggest(rates, losses, steps), steps)


def _sweep(rates: np.ndarray, stop: float) -> Hook:
    """Set the rate of each batch; end the fit when the loss has blown up or the rates are over."""
    table = rates.astype(np.float32)

    def before_batch(sweep: _Sweep, context: StepContext):
        opt_state = set_hyperparams(
            context.opt_state, learning_rate=jnp.asarray(table)[sweep.count]
        )
        return sweep, context.replace(opt_state=opt_state)

    def after_batch(sweep: _Sweep, context: StepContext):
        counts, loss = context.metrics.count > sweep.losses, context.loss.astype(jnp.float32)
        new = _add_loss(sweep, loss, len(rates))
        sweep = select(counts, new, sweep)._replace(count=sweep.count + 1)
        smooth = _debias(sweep.average, sweep.losses)
        # Written so that it holds for NaN.
        bad = ~((smooth - sweep.best <= (stop - 1) * sweep.height) & jnp.isfinite(smooth))
        return sweep, context.request(Request.END_FIT, bad | (sweep.count >= len(rates)))

    return Hook(
        NAME,
        {"before_batch": before_batch, "after_batch": after_batch},
        init=lambda state: _no_losses(),
    )


def _no_losses() -> _Sweep:
    whole, number = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32)
    return _Sweep(whole, whole, *[number] * 6)


def _add_loss(sweep: _Sweep, loss: jax.Array, steps: int) -> _Sweep:
    """The sweep after one more loss."""
    first = jnp.where(sweep.losses == 0, loss, sweep.first)
    x, losses = loss - first, sweep.losses + 1
    average = SMOOTHING * sweep.average + (1 - SMOOTHING) * x
    smooth = _debias(average, losses)
    low, total = jnp.minimum(sweep.low, x), sweep.total + x
    early = losses <= max(steps // 10, EARLY)
    now = total / losses.astype(jnp.float32) - low
    height = jnp.where(early | (smooth < sweep.best), now, sweep.height)
    best = jnp.minimum(sweep.best, smooth)
    return _Sweep(sweep.count, losses, first, average, best, low, total, height)


def _debias(average: jax.Array, losses: jax.Array) -> jax.Array:
    n = jnp.maximum(losses, 1).astype(jnp.float32)
    return average / bias_correction(jnp.float32(SMOOTHING), n)


def _smooth(raw: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """The loop's smooth losses in float64, of the losses that count; NaN before the first."""
    first = raw[counted][:1].sum()
    average, count, out = 0.0, 0, np.full(len(raw), np.nan)
    for i, x in enumerate(raw - first):
        if counted[i]:
            average, count = SMOOTHING * average + (1 - SMOOTHING) * x, count + 1
        if count:
            out[i] = first + average / (1 - SMOOTHING**count)
    return out


def _check(state: TrainState, start: float, end: float, steps: int, stop: float) -> None:
    if not 0 < start < end:
        raise ValueError(
            f"lr_find: needs 0 < start < end; got start={start} and end={end}. The defaults are"
            " 1e-7 and 10."
        )
    if steps < 10:
        raise ValueError(
            f"lr_find: `steps` must be at least 10, since the first tenth and the last 5 points are"
            f" not used; got {steps}. Use about 100."
        )
    if not stop > 1:
        raise ValueError(f"lr_find: `stop` must be greater than 1; got {stop}. The default is 4.")
    set_hyperparams(state.opt_state, learning_rate=start)


def _some(values: Any) -> str:
    return ", ".join(f"{value:.4g}" for value in values[:5]) + (" ..." if len(values) > 5 else "")


def suggest(rates: np.ndarray, losses: np.ndarray, steps: int) -> dict[str, float | None]:
    """The four suggestions, from the smooth losses; None where there are too few points.

        suggestions = {rule: rule(rates[usable], losses[usable])}

    Args:
        rates: float[n], the learning rates.
        losses: float[n], the smooth losses.
        steps: how many the sweep was to have.
    """
    kept = usable(losses, steps)
    rates, losses = rates[kept.start : kept.stop], losses[kept.start : kept.stop]
    rules = {"minimum": minimum, "steep": steep, "valley": valley, "slide": slide}
    return {name: rule(rates, losses) for name, rule in rules.items()}


def minimum(rates: np.ndarray, losses: np.ndarray) -> float | None:
    """A tenth of the rate with the least loss.

        rates[argmin losses] / 10

    Args:
        rates: float[n], the learning rates, rising.
        losses: float[n], the smooth losses, finite.
    """
    return float(rates[losses.argmin()]) / 10 if len(losses) else None


def steep(rates: np.ndarray, losses: np.ndarray) -> float | None:
    """The rate at which the loss falls most steeply over the logarithm of the rate.

        rates[argmin_i (losses_i+1 - losses_i) / (log rates_i+1 - log rates_i)]

    Args:
        rates: float[n], the learning rates, rising.
        losses: float[n], the smooth losses, finite.
    """
    if len(losses) < 2:
        return None
    return float(rates[np.argmin(np.diff(losses) / np.diff(np.log(rates)))])


def valley(rates: np.ndarray, losses: np.ndarray) -> float | None:
    """The rate half way through the longest valley.

        rates[start + floor(s) + floor(s / 2)]       s = (end - start) / 3

    The valley ends at the point `end` where the longest strictly decreasing subsequence of the
    losses ends (the first such point), and `start` is `end` less its length.

    Args:
        rates: float[n], the learning rates, rising.
        losses: float[n], the smooth losses, finite.
    """
    return float(rates[valley_of(losses)[1]]) if len(losses) > 1 else None


def slide(rates: np.ndarray, losses: np.ndarray) -> float | None:
    """The left end of a window of 15 points, slid left from the end until it is on even slope.

        while |g_r - g_l| > 0.005:  l, r = l - 1, r - 1       g = gradient of losses, l = r - 15

    The suggestion is the rate at the last such l.

    Args:
        rates: float[n], the learning rates, rising.
        losses: float[n], the smooth losses, finite.
    """
    left = len(losses) - 1 - SLIDE_WIDTH
    if left < 0:
        return None
    slope = np.gradient(losses)
    rate = rates[left]
    while left >= 0 and abs(slope[left + SLIDE_WIDTH] - slope[left]) > SLIDE_THRESHOLD:
        rate = rates[left]
        left -= 1
    return float(rate)
