"""Settings that the whole suite runs under, its `--thorough` tier, and a bound on its memory."""

import ctypes
import gc
import os
import resource
import shutil
import sys
import tempfile
from importlib.metadata import version

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
# Workers and the tests' own processes inherit what the first process has decided.
os.environ["GRADTX_THOROUGH"] = os.environ.get("GRADTX_THOROUGH", str("--thorough" in sys.argv))
# XLA compiles a small program up to ten times faster so, and a test compiles far more than it runs.
# --thorough compiles as users do.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(os.environ["GRADTX_THOROUGH"] == "False")
# Eight devices on one CPU, for the tests of sharding; other tests use the first. The other flags
# are for one version alone, since a process ends at a flag that its XLA does not know.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8"
    + (
        " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        if os.environ["GRADTX_THOROUGH"] == "False" and version("jaxlib").startswith("0.10.")
        else ""
    )
)

import jax
import pytest
from hypothesis import HealthCheck, settings
from jax._src.interpreters import mlir
from jax.experimental.compilation_cache import compilation_cache

settings.register_profile(
    "dev", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "ci", parent=settings.get_profile("dev"), derandomize=True, print_blob=True
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

MB = 2**20
MOST_MB = 2000  # that a process may hold at the end
GROWTH_MB = 600  # after which JAX's caches are emptied
MEMORY = pytest.StashKey[dict[str, tuple[int, int]]]()
COMPILED = pytest.StashKey[str]()


def pytest_addoption(parser):
    parser.addoption(
        "--thorough",
        action="store_true",
        help="run the tests marked `thorough` too: every law on everything, long searches",
    )


def pytest_configure(config):
    config.stash[MEMORY] = {}
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        config.stash[COMPILED] = share_compiled()


def share_compiled():
    """A folder for what this run compiles: a worker need not compile what another one has.

    It is made before the workers and the tests' own processes start, which inherit its name.
    """
    folder = tempfile.mkdtemp(prefix="gradtx-compiled-")
    for name, value in (
        ("jax_compilation_cache_dir", folder),
        ("jax_persistent_cache_min_compile_time_secs", 0.05),
    ):
        os.environ[name.upper()] = str(value)
        jax.config.update(name, value)
    return folder


class Context:
    """JAX makes an MLIR context for each program that it lowers, 5 ms and half a megabyte each.

    One serves many programs as well. The default tier puts this in the place of JAX's own function.
    """

    def __init__(self):
        self.make = getattr(mlir, "make_ir_context", None)
        self.made = None
        if self.make is not None and os.environ["GRADTX_THOROUGH"] == "False":
            mlir.make_ir_context = self

    def __call__(self):
        if self.made is None:
            self.made = self.make()
        return self.made


CONTEXT = Context()


def pytest_collection_modifyitems(config, items):
    if config.getoption("--thorough"):
        return
    for item in items:
        if item.get_closest_marker("thorough"):
            item.add_marker(pytest.mark.skip(reason="thorough: run with --thorough"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Where there is no float16, a test in which XLA refused a program is skipped, and says so."""
    report = yield
    if report.failed and "Failed to materialize symbols" in report.longreprtext + "".join(
        text for _, text in report.sections
    ):
        from gradtx.testing.trees import has_float16

        if not has_float16():
            report.outcome = "skipped"
            report.longrepr = (*report.location[:2], "XLA has no float16 on this CPU")
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Imported modules are never garbage, and JAX does work of its own at each collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def held_mb():
    """Megabytes of memory that this process holds; its most so far where that is not told."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() // MB
    except FileNotFoundError:
        return peak_mb()


def peak_mb():
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // (MB if sys.platform == "darwin" else 1024)


def empty_caches():
    """Drop what JAX has traced and compiled, and give the memory back."""
    jax.clear_caches()
    CONTEXT.made = None
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return held_mb()


class Bound:
    """Empties JAX's caches whenever the process has grown since it last did."""

    def __init__(self):
        self.start = held_mb()

    def keep(self):
        if held_mb() > self.start + GROWTH_MB:
            self.start = empty_caches()


BOUND = Bound()


@pytest.fixture(autouse=True)
def bounded_memory():
    """Compiled programs of finished tests are of no use, and are most of what a worker holds."""
    yield
    BOUND.keep()


@pytest.fixture(scope="module")
def compiled_once():
    """For a module whose programs nobody else has: looking each up takes a sixth of the time."""
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    found = getattr(node, "workeroutput", {}).get("memory_mb")
    if found:
        node.config.stash[MEMORY][node.gateway.id] = tuple(found)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    config = session.config
    if hasattr(config, "workeroutput"):  # a worker of pytest-xdist
        config.workeroutput["memory_mb"] = [held_mb(), peak_mb()]
        return
    found = config.stash[MEMORY]
    if not found:
        found["this process"] = (held_mb(), peak_mb())
    if max(held for held, _ in found.values()) > MOST_MB:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    for name, (held, peak) in sorted(config.stash[MEMORY].items()):
        said = f"{name}: {held} MB held at the end, {peak} MB at most"
        if held > MOST_MB:
            said += f"; must hold at most {MOST_MB} MB. Empty caches between modules."
        terminalreporter.write_line(said, red=held > MOST_MB)


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        del os.environ["GRADTX_THOROUGH"]
    if COMPILED in config.stash:
        shutil.rmtree(config.stash[COMPILED], ignore_errors=True)
        del os.environ["JAX_COMPILATION_CACHE_DIR"]
