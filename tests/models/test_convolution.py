"""Fast forms of convolution and pooling against XLA's own, in values and gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import export

from gradtx.models import resnet_tiny
from gradtx.models.convolution import Conv, convolution
from gradtx.models.pooling import max_pool

# size, stride, padding, height, width; images below and above SMALL_IMAGE, odd and even, down to
# one pixel, and paddings that are not size // 2.
CASES = [
    (1, 2, 0, 4, 3),
    (3, 1, 0, 4, 3),
    (3, 1, 2, 2, 3),
    (3, 2, 0, 3, 4),
    (5, 3, 2, 4, 4),
    (7, 2, 3, 3, 4),
    (1, 2, 0, 7, 6),
    (3, 1, 1, 1, 1),
    (3, 1, 1, 1, 2),
    (3, 1, 1, 5, 4),
    (3, 1, 1, 8, 6),
    (3, 2, 1, 2, 3),
    (3, 1, 0, 6, 7),
    (3, 1, 2, 4, 5),
    (7, 2, 3, 13, 12),
    (1, 1, 0, 17, 18),
    (1, 2, 0, 19, 18),
    (3, 1, 1, 18, 17),
    (3, 1, 2, 17, 18),
    (3, 2, 1, 17, 18),
    (3, 2, 0, 18, 17),
    (7, 2, 3, 20, 17),
    (5, 3, 2, 20, 18),
]


def inputs(size, height, width, *, dtype=np.float32, seed=0):
    """Images and a kernel: drawn by NumPy, which compiles nothing."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, height, width, 3)).astype(dtype)
    kernel = rng.standard_normal((size, size, 3, 4)).astype(dtype)
    return x, kernel


def with_gradients(form, x, kernel, *, stride, padding):
    """The output y, and the gradients of half the sum of its squares by `x` and `kernel`."""
    run = partial(convolution, stride=stride, padding=padding, form=form)
    y, pull = jax.vjp(run, x, kernel)
    return y, *pull(y)


jitted = jax.jit(with_gradients, static_argnums=0, static_argnames=("stride", "padding"))


def reference(x, kernel, *, stride, padding):
    """The same three arrays in float64, tap by tap."""
    x, kernel = x.astype(np.float64), kernel.astype(np.float64)
    size = len(kernel)
    height, width = x.shape[1:3]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = ((n + 2 * padding - size) // stride + 1 for n in (height, width))

    def tap(i, j):
        last = lambda start, n: start + (n - 1) * stride + 1
        return np.s_[:, i : last(i, rows) : stride, j : last(j, columns) : stride]

    taps = [(i, j) for i in range(size) for j in range(size)]
    y = sum(x[tap(i, j)] @ kernel[i, j] for i, j in taps)
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for i, j in taps:
        dx[tap(i, j)] += y @ kernel[i, j].T
        dkernel[i, j] = np.einsum("nrck,nrco->ko", x[tap(i, j)], y)
    return y, dx[:, padding : padding + height, padding : padding + width], dkernel


def assert_close(got, want, tolerance):
    """Compare arrays relative to the largest value of each: sums cancel."""
    for a, b in zip(got, want, strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))


@pytest.mark.parametrize(("size", "stride", "padding", "height", "width"), CASES)
def test_fast_convolution_and_its_gradients(size, stride, padding, height, width):
    x, kernel = inputs(size, height, width)
    got = jitted("fast", x, kernel, stride=stride, padding=padding)
    assert_close(got, reference(x, kernel, stride=stride, padding=padding), tolerance=1e-5)
    assert {a.dtype for a in got} == {jnp.dtype(jnp.float32)}


def test_native_convolution_and_its_gradients():
    x, kernel = inputs(3, 17, 8)
    got = jitted("native", x, kernel, stride=2, padding=1)
    assert_close(got, reference(x, kernel, stride=2, padding=1), tolerance=1e-5)


@pytest.mark.parametrize(("image", "stride"), [(4, 2), (18, 1), (18, 2)])
def test_bfloat16_rounds_once(image, stride):
    """Sums are kept in float32: what is left is the rounding of y, which enters the gradients."""
    x, kernel = inputs(3, image, image, dtype=jnp.bfloat16)
    got = jitted("fast", x, kernel, stride=stride, padding=1)
    assert {a.dtype for a in got} == {jnp.dtype(jnp.bfloat16)}
    assert_close(got, reference(x, kernel, stride=stride, padding=1), tolerance=2**-7)


@pytest.mark.parametrize("image", [4, 18])
def test_eager_is_jit(image):
    x, kernel = inputs(3, image, image)
    eager = with_gradients("fast", x, kernel, stride=2, padding=1)
    assert_close(eager, jitted("fast", x, kernel, stride=2, padding=1), tolerance=1e-6)


@pytest.mark.parametrize("image", [6, 18])
def test_scan_and_vmap_are_a_loop(image):
    pairs = [inputs(3, image, image, seed=seed) for seed in range(3)]
    stacked = [np.stack(parts) for parts in zip(*pairs, strict=True)]
    one = partial(with_gradients, "fast", stride=1, padding=1)
    loop = [reference(*pair, stride=1, padding=1) for pair in pairs]
    loop = [np.stack(parts) for parts in zip(*loop, strict=True)]
    scan = jax.jit(lambda xs: jax.lax.scan(lambda carry, pair: (carry, one(*pair)), 0, xs)[1])
    assert_close(scan(stacked), loop, tolerance=1e-5)
    assert_close(jax.jit(jax.vmap(one))(*stacked), loop, tolerance=1e-5)


def gradient_text(form, argnums):
    """The compiled gradient of a convolution of stride 2, as text."""
    x, kernel = inputs(3, 18, 18)
    loss = lambda x, kernel: (convolution(x, kernel, stride=2, padding=1, form=form) ** 2).sum()
    lowered = jax.jit(jax.grad(loss, argnums)).lower(x, kernel)
    return lowered.as_text(), lowered.compile().as_text()


def test_an_unwanted_input_gradient_is_not_computed():
    counts = [gradient_text("fast", argnums)[1].count(" convolution(") for argnums in (1, (0, 1))]
    assert counts == [1, 2]  # the forward pass, and the input gradient if wanted


def test_gradients_are_plain_nhwc_convolutions():
    """Any other layout falls to a naive loop inside lax.scan on a CPU."""
    plain = "dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"
    text = {form: gradient_text(form, (0, 1))[0] for form in ("fast", "native")}
    convolutions = {form: text[form].count("stablehlo.convolution") for form in text}
    assert convolutions == {"fast": 2, "native": 3}
    assert text["fast"].count(plain) == 2
    assert text["native"].count(plain) < 3


def pool_with_gradient(form, x, weights):
    y, pull = jax.vjp(partial(max_pool, form=form), x)
    return y, *pull(weights)


pool = jax.jit(pool_with_gradient, static_argnums=0)


@pytest.mark.parametrize("values", ["distinct", "ties", "nan"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 8)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_fast_max_pool_is_xlas(height, width, values, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, height, width, 3)).astype(dtype)
    if values == "ties":
        x = np.round(x)
    if values == "nan":
        x[1, 0, 0] = np.nan
    weights = rng.standard_normal((2, -(-height // 2), -(-width // 2), 3)).astype(dtype)
    fast, native = pool("auto", x, weights), pool("native", x, weights)
    # NumPy's comparison knows no NaN of bfloat16.
    np.testing.assert_array_equal(fast[0].astype(jnp.float32), native[0].astype(jnp.float32))
    if values != "nan":
        assert_close(fast[1:], native[1:], tolerance=1e-6 if dtype == jnp.float32 else 2**-6)


def test_the_first_of_equal_values_takes_the_gradient():
    gradient = pool("fast", np.ones((1, 4, 4, 1), np.float32), np.ones((1, 2, 2, 1), np.float32))[1]
    want = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(gradient[0, :, :, 0], want)


@pytest.mark.parametrize("size", [1, 3])
def test_layer_has_flaxs_layout(size):
    x, _ = inputs(size, 9, 8)
    layer = Conv(5, size=size, stride=2, form="fast")
    variables = layer.init(jax.random.key(1), x)
    theirs = nn.Conv(5, (size, size), strides=2, padding=size // 2, use_bias=False)
    got, want = layer.apply(variables, x), theirs.apply(variables, x)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("image", [14, 28, 75])
def test_forms_of_the_network_agree(image):
    """14 px: the second stage begins with SMALL_IMAGE pixels; 28 and 75 px: with more."""
    x = np.random.default_rng(0).standard_normal((3, image, image, 2)).astype(np.float32)
    make = partial(resnet_tiny, num_classes=3, stage_sizes=(1, 1))
    init = jax.jit(partial(make().init, train=False))
    variables = init(jax.random.key(1), x)

    def run(form):
        @partial(jax.value_and_grad, has_aux=True)
        def loss(params):
            own = {**variables, "params": params}
            logits, new = make(conv_form=form).apply(own, x, train=True, mutable=["batch_stats"])
            return (logits**2).mean(), new

        return jax.tree.leaves(jax.jit(loss)(variables["params"]))

    assert_close(run("fast"), run("native"), tolerance=1e-4)


@pytest.mark.parametrize("image", [4, 18])
def test_auto_is_what_the_platform_of_the_program_needs(image):
    """Whatever platform it is traced on."""
    x, kernel = inputs(3, image, image)

    def made_for(form, *platforms):
        run = partial(with_gradients, form, stride=2, padding=1)
        return export.export(jax.jit(run), platforms=platforms)(x, kernel)

    text = lambda *made: made_for(*made).mlir_module()
    count = lambda what, *made: text(*made).count(f"stablehlo.{what}")
    for what in ("convolution", "dot_general"):
        assert count(what, "auto", "cpu") == count(what, "fast", "cpu")
        for platform in ("cuda", "rocm", "tpu"):
            assert count(what, "auto", platform) == count(what, "native", platform)
    assert count("convolution", "auto", "cuda") == 3
    want = reference(x, kernel, stride=2, padding=1)
    assert_close(made_for("auto", "cpu", "cuda").call(x, kernel), want, tolerance=1e-5)


def test_bad_input_is_named():
    x, kernel = inputs(3, 5, 5)
    with pytest.raises(ValueError, match=r"convolution: `form` is one of .*; got 'quick'"):
        convolution(x, kernel, form="quick")
    with pytest.raises(ValueError, match=r"convolution: `kernel` must be square; got shape"):
        convolution(x, kernel[:2], form="fast")
    with pytest.raises(ValueError, match=r"`form` is one of"):
        max_pool(x, form="quick")
