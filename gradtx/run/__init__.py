"""A training script's whole run: options, directory, resume, signals, devices, searches, report.

    @dataclass(frozen=True)
    class Options(RunOptions):
        lr: float = option(1e-3, "the learning rate", least=0)

    def train(options, run):
        source = ...
        loop = Loop(...)
        state = loop.init(...)
        run.fit(fit, loop, state, source)

    sys.exit(launch(Options, train, sys.argv[1:]))

`train.py` is such a script. Needs the extras `train` and `data`.
"""

from gradtx.run.batch_size import largest_batch_size, step_bytes
from gradtx.run.devices import mesh_for, on_mesh
from gradtx.run.directory import read_config
from gradtx.run.errors import RunFailed, fail
from gradtx.run.export import Exported, export, load_exported
from gradtx.run.first_state import first_state
from gradtx.run.guards import with_guards
from gradtx.run.interrupt import ending_at_once
from gradtx.run.launch import launch
from gradtx.run.metrics import image_metrics
from gradtx.run.model import Model, image_model, linen_model
from gradtx.run.options import RunOptions
from gradtx.run.predict import Predictions, predict, predict_files, restore_model
from gradtx.run.probabilities import predict_images, predictor
from gradtx.run.runner import Runner
from gradtx.run.sources import BatchSource, image_source, load_images, load_text, text_source
from gradtx.run.train_options import TrainOptions

__all__ = [
    "BatchSource",
    "Exported",
    "Model",
    "Predictions",
    "RunFailed",
    "RunOptions",
    "Runner",
    "TrainOptions",
    "ending_at_once",
    "export",
    "fail",
    "first_state",
    "image_metrics",
    "image_model",
    "image_source",
    "largest_batch_size",
    "launch",
    "linen_model",
    "load_exported",
    "load_images",
    "load_text",
    "mesh_for",
    "on_mesh",
    "predict",
    "predict_files",
    "predict_images",
    "predictor",
    "read_config",
    "restore_model",
    "step_bytes",
    "text_source",
    "with_guards",
]
