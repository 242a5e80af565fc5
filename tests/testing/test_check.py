"""What the kit says, and how it is called."""

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import optax
import pytest

import gradtx
from gradtx.testing import LawViolation, check_transformation, examine, law_tests, laws
from tests.testing.defects import scheduled

PARAMS = {"w": jnp.array([1.0, -2.0], jnp.float32)}


def test_report_names_every_law_with_formula_values_and_a_script_that_runs():
    claims = {"linear": True, "scale_equivariant": True, "low_precision": False}
    only = ["linear", "scale_equivariant", "pure"]
    tx = optax.clip(10.0)
    report = examine(tx, only=only, **claims)
    assert report.failed == ("linear", "scale_equivariant") and report.passed == ("pure",)
    text = str(report)
    assert "clip breaks 2 of 3 laws." in text
    assert "u(a g + b h) = a u(g) + b u(h)" in text and "u(a g) = a u(g)" in text
    for failure in report.failures:
        script = failure.code.replace("tx = ...", "tx = given")
        with pytest.raises(LawViolation) as caught:
            exec(script, {"given": tx})
        assert caught.value.name == failure.law
        assert caught.value.formula == failure.formula
        assert caught.value.details == failure.details


def test_counterexample_is_small():
    report = examine(optax.clip(10.0), only=["linear"], linear=True, promotion="standard")
    assert len(report.failures[0].code.splitlines()) <= 8  # one update of a vector


def test_importable_factory_needs_no_editing():
    report = examine(optax.adam, only=["linear"], hyperparams={"learning_rate": 0.1}, linear=True,
                     low_precision=False, promotion="standard")  # fmt: skip
    code = report.failures[0].code
    assert "from optax import adam" in code and "tx = factory(learning_rate=0.1)" in code
    with jax.numpy_dtype_promotion("standard"), pytest.raises(LawViolation, match="linear"):
        exec(code, {})


def test_all_failures_raise_as_one_assertion():
    with pytest.raises(
        AssertionError, match=r"check_transformation: identity breaks 2 of \d+ laws"
    ):
        check_transformation(
            optax.identity(), frozen=lambda p: jax.tree.map(lambda x: False, p), needs_params=True
        )


def test_a_law_alone():
    laws.scale_equivariant(optax.scale(2.0), PARAMS, [PARAMS], factor=2.0, tolerance=1e-6)
    with pytest.raises(LawViolation, match=r"scale_invariant: update 0 at w\[0\]") as caught:
        laws.scale_invariant(optax.scale(2.0), PARAMS, [PARAMS], factor=2.0, tolerance=1e-6)
    assert caught.value.formula.startswith("u(a g) = u(g)")


def test_unknown_claim_lists_the_known():
    with pytest.raises(
        TypeError, match=r"got `liner`\. Did you mean `linear`\? Known claims: need"
    ):
        check_transformation(optax.identity(), liner=True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tx_or_factory": 3}, TypeError, "needs a gradient transformation"),
        ({"tx_or_factory": lambda: 3}, TypeError, "the factory must return"),
        ({"hyperparams": {"a": 1.0}}, ValueError, "`hyperparams` needs the factory"),
        ({"profile": "slow"}, ValueError, "`profile` must be one of quick, thorough"),
        ({"promotion": "loose"}, ValueError, "`promotion` must be"),
        ({"proportional_to": "learning_rate"}, ValueError, "must name runtime hyperparameters"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        check_transformation(**({"tx_or_factory": optax.identity()} | arguments))


@pytest.mark.parametrize(
    ("only", "error", "message"),
    [
        (
            ["liner"],
            ValueError,
            r"name laws; got 'liner'\. Did you mean `linear`\? The laws: pure, ",
        ),
        (["pure", "nolaw"], ValueError, r"name laws; got 'nolaw'\."),
        ([], ValueError, r"a law that applies; got \[\]\. .* these apply: returns, "),
        (["linear"], ValueError, r"a law that applies; got \['linear'\]\. Make the claim"),
        ("linear", TypeError, "be a sequence, each text or None; got str"),
        (3, TypeError, "be a sequence, each text or None; got int"),
    ],
)
def test_a_selection_without_laws_is_refused(only, error, message):
    with pytest.raises(error, match=rf"^(examine|check_transformation): `only` must .*{message}"):
        examine(gradtx.identity(), only=only)


def test_a_factory_that_lacks_arguments():
    message = (
        r"^check_transformation: the factory must be callable as sgd\(\*\*hyperparams\); got"
        r" hyperparams=\{\}, and missing .* 'learning_rate'\. Pass .* or its arguments as"
        r" hyperparams=\{...\}, or lambda: sgd\("
    )
    with pytest.raises(TypeError, match=message):
        examine(gradtx.sgd)


def test_what_does_not_return_is_reported_once():
    broken = optax.GradientTransformation(lambda p: (), lambda g, s, p=None: g)
    assert examine(broken).failed == ("returns",)


def test_same_seed_same_report():
    reports = [str(examine(optax.clip(2.0), only=["linear"], linear=True)) for _ in range(2)]
    assert reports[0] == reports[1]


def test_templates_and_extra_args():
    template = {"kernel": jnp.zeros((4, 2)), "bias": jnp.zeros(2)}
    seen = set()

    def update(updates, state, params=None, *, value, **extra):
        seen.add(str(jax.tree.map(jnp.shape, updates)))
        return jax.tree.map(lambda g: g * value, updates), state

    tx = optax.GradientTransformationExtraArgs(lambda p: (), update)
    only = ["linear", "jit_equals_eager", "state_is_fixed_point"]
    report = examine(tx, only=only, templates=[template], extra_args={"value": jnp.float32(2)},
                     linear=True)  # fmt: skip
    assert set(report.passed) == set(only)
    assert seen == {"{'bias': (2,), 'kernel': (4, 2)}"}


test_as_one_line = law_tests(
    scheduled(),
    hyperparams={"learning_rate": 0.1},
    proportional_to="learning_rate",
    low_precision=False,
)


def test_one_line_form_fails_with_the_report():
    test = law_tests(optax.scale(2.0), scale_invariant=True, low_precision=False)
    names = test.pytestmark[0].args[1]
    assert "scale_invariant" in names and "linear" not in names
    with pytest.raises(pytest.fail.Exception, match=r"scale breaks 1 of 1 laws"):
        test("scale_invariant")


def test_gradtx_chains_are_chained_by_gradtx():
    only = ["chain_identity", "chain_associative"]
    assert examine(gradtx.adam(0.1), only=only).passed == tuple(only)


def test_without_hypothesis_the_message_says_what_to_install():
    script = """
        import sys
        sys.modules["hypothesis"] = None
        try:
            import gradtx.testing
        except ModuleNotFoundError as error:
            print(error)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    want = "gradtx.testing needs Hypothesis. Install it with `pip install 'gradtx[testing]'`."
    assert run.stdout.strip() == want
