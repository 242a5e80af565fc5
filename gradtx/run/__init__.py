"""A training script's whole run: options, directory, resume, signals, devices, searches, report.

    @dataclass(frozen=True)
    class Config(RunOptions):
        lr: float = option(1e-3, "the learning rate", least=0)

    def job(config): ...
        return Job(loop, state, source)

    sys.exit(launch(Config, job, sys.argv[1:]))

`train.py` is such a script. Needs the extras `train` and `data`.
"""

from gradtx.run.directory import read_config
from gradtx.run.guards import with_guards
from gradtx.run.job import Job, mesh_for, on_mesh
from gradtx.run.launch import fail, launch
from gradtx.run.options import RunOptions
from gradtx.run.predict import predict
from gradtx.run.sources import Source, image_source, text_source
from gradtx.run.training import RunFailed

__all__ = [
    "Job",
    "RunFailed",
    "RunOptions",
    "Source",
    "fail",
    "image_source",
    "launch",
    "mesh_for",
    "on_mesh",
    "predict",
    "read_config",
    "text_source",
    "with_guards",
]
