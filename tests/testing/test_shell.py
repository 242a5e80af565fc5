"""The kit from the shell: `gradtx check`, or `python -m gradtx.testing`."""

import subprocess
import sys

import jax
import pytest

from gradtx.testing import LawViolation
from gradtx.testing.__main__ import main

MINE = """
import jax
import jax.numpy as jnp
import optax

def signs(learning_rate=0.1, *, eps=0.0, nesterov=False, root=abs):
    def update(g, state, params=None, **extra):
        return jax.tree.map(lambda x: -learning_rate * x / (root(x) + eps), g), state
    return optax.GradientTransformationExtraArgs(lambda params: (), update)

made = signs()

class Inside:
    lambdas = lambda: signs(0.5)

def by_value():
    def update(g, state, params=None, *, value, **extra):
        return jax.tree.map(lambda x: value * x * jnp.abs(x), g), state
    return optax.GradientTransformationExtraArgs(lambda params: (), update)

def fails():
    raise KeyError("x")

def nothing_moves(tree):
    return jax.tree.map(lambda x: False, tree)
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    file = tmp_path_factory.mktemp("elsewhere") / "mine_of_the_shell.py"
    file.write_text(MINE)
    return str(file)


def test_what_keeps_the_laws(capsys):
    words = ["optax:sgd", "--hyperparam", "learning_rate=1e-3", "--arg", "nesterov=true"]
    words += ["--claim", "linear", "--claim", "proportional_to=learning_rate", "--shapes", "2x3"]
    for law in ("linear", "proportional_to"):
        words += ["--only", law]
    assert main(words) == 0
    assert capsys.readouterr().out == "sgd keeps all 2 laws: linear, proportional_to.\n"


@pytest.mark.parametrize(
    ("name", "words", "law"),
    [
        ("signs", ["--arg", "learning_rate=1e-3"], "finite"),
        ("signs", ["--arg", "root=optax:safe_norm"], "finite"),
        ("made", [], "finite"),
        ("Inside.lambdas", [], "finite"),
        ("made", ["--claim", "frozen={mine}:nothing_moves"], "frozen"),
        ("by_value", ["--extra-arg", "value=2", "--claim", "linear"], "linear"),
    ],
)
def test_a_counterexample_is_a_script_that_runs(mine, name, words, law, tmp_path, capsys):
    words = [word.replace("{mine}", mine) for word in words]
    assert main([f"{mine}:{name}", *words, "--only", law, "--scripts", str(tmp_path)]) == 1
    said, code = capsys.readouterr().out, (tmp_path / f"{law}.py").read_text()
    assert all(f"      {line}\n" in said for line in code.splitlines()), said
    assert "..." not in code
    with pytest.raises(LawViolation, match=law):
        exec(code, {})


def test_a_script_has_the_rules_that_the_check_ran_under(mine, capsys):
    usual = ["--only", "finite", "--promotion", "standard"]
    assert main([f"{mine}:made", *usual]) == 1
    assert "jax.config" not in capsys.readouterr().out
    assert main([f"{mine}:made", *usual[:3], "strict"]) == 1
    said = capsys.readouterr().out
    assert "jax.config.update(\"jax_numpy_dtype_promotion\", 'strict')" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["mine.py"],
            "what is checked must be module:name or path/to/file.py:name; got 'mine.py'.",
        ),
        (["nowhere.py:x"], "nowhere.py must be a file; got none."),
        (["no_such_module:x"], "`no_such_module` must import; got ModuleNotFoundError"),
        (["optax:adm"], "optax must have the name `adm`; got none. Did you mean `adam`?"),
        (["{mine}:fails"], "must be made without an error; got KeyError: 'x'."),
        (
            ["json:dumps"],
            "json:dumps must be callable with what it is given; got: missing a required",
        ),
        (["optax:identity", "--arg", "lr=1"], "got an unexpected keyword argument 'lr'."),
        (
            ["optax:adam", "--arg", "learning_rate"],
            "--arg must be NAME=VALUE; got 'learning_rate'.",
        ),
        (["optax:sgd", "--arg", "a=1", "--arg", "a=2"], "--arg a must be given once"),
        (["{mine}:signs", "--arg", "nesterov=treu"], "--arg nesterov must be of the kind of its"),
        (["{mine}:made", "--arg", "eps=1"], "--arg needs a factory; got"),
        (["optax:adam", "--hyperparam", "learning_rate=fast"], "learning_rate must be a number"),
        (["optax:identity", "--claim", "liner"], "got `liner`. Did you mean `linear`?"),
        (["optax:identity", "--claim", "linear=maybe"], "`linear` must be True or False; got str"),
        (["optax:identity", "--only", "nolaw"], "`only` must name laws; got 'nolaw'."),
        (
            ["optax:identity", "--shapes", "3y4"],
            "--shapes must be such as 4x6,3,scalar; got '3y4'.",
        ),
    ],
)
def test_bad_input_is_one_line(mine, words, message, capsys):
    assert main([word.replace("{mine}", mine) for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert message in err


def test_a_file_whose_name_another_module_has(tmp_path, capsys):
    (tmp_path / "json.py").write_text("x = 1")
    assert main([f"{tmp_path}/json.py:x"]) == 2
    assert (
        "json.py must be imported as `json`; got the module of that name" in capsys.readouterr().err
    )


def test_one_device_is_said(monkeypatch, capsys):
    devices = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *args: devices)
    assert main(["optax:identity", "--only", "sharded_equals_single"]) == 0
    said = capsys.readouterr().out
    assert "Not tried for want of a second device: sharded_equals_single." in said


@pytest.mark.thorough
@pytest.mark.parametrize(
    "program", [["-m", "gradtx.testing"], ["-m", "gradtx", "check"]], ids=["testing", "gradtx"]
)
def test_as_a_command(program, mine, tmp_path):
    words = [f"{mine}:signs", "--only", "finite", "--scripts", str(tmp_path)]
    ended = subprocess.run([sys.executable, *program, *words], capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stdout.startswith("signs breaks 1 of 1 laws.")
    script = [sys.executable, tmp_path / "finite.py"]
    ended = subprocess.run(script, capture_output=True, text=True, cwd="/")
    assert ended.returncode == 1 and "LawViolation: finite: update 0" in ended.stderr
