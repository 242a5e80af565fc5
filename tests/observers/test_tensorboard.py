"""Event files, read back record by record: framing by hand, content by its proto."""

import io
import logging
import math
import struct
import sys
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gradtx.checkpoint import resume
from gradtx.hooks import terminate_on_nan
from gradtx.loop import Hook, Observer, Report, fit
from gradtx.loop.histogram import HISTOGRAM_EDGES
from gradtx.observers import Interrupted, tensorboard
from gradtx.observers.tensorboard import write_images
from gradtx.run import RunOptions
from gradtx.run.training import observers_for
from tests.observers.small import BATCHES, at, make, nan_at


def events(folder):
    """Every event of the files in a folder, oldest file first."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack_from("<Q", data)
            event = Event()
            event.ParseFromString(data[12 : 12 + length])
            yield event
            data = data[12 + length + 4 :]


def scalars(folder):
    """(tag, step) -> value."""
    return {
        (value.tag, event.step): value.simple_value
        for event in events(folder)
        for value in event.summary.value
    }


def test_scalars_of_steps_and_epochs(tmp_path):
    loop, state = make()
    observers = [tensorboard(tmp_path)]
    _, history = fit(loop, state, BATCHES, BATCHES[:1], epochs=2, observers=observers)
    got = scalars(tmp_path)
    losses = [got["step/loss", step] for step in range(1, 7)]
    assert losses == history.steps["loss"].tolist()
    assert got["step/learning_rate/all", 1] == 0.125
    assert got["epoch/mae", 6] == pytest.approx(history.rows[1]["mae"])
    assert not any(tag.endswith("/epoch") for tag, _ in got)


def test_each_number_of_an_array_is_a_scalar(tmp_path):
    loop, state = make(Hook("mine", {}, log=lambda s: {"counts": jnp.arange(4).reshape(2, 2)}))
    fit(loop, state, BATCHES, epochs=1, observers=[tensorboard(tmp_path)])
    got = scalars(tmp_path)
    assert [got[f"step/counts/{i}/{j}", 3] for i in (0, 1) for j in (0, 1)] == [0, 1, 2, 3]


def test_counts_are_histograms_with_their_edges(tmp_path):
    """Ten numbers from 1 up to below 2, and five beyond the last edge, in an open bin."""
    where = int(np.searchsorted(HISTOGRAM_EDGES, 1.0, side="right"))
    counts = jnp.zeros(len(HISTOGRAM_EDGES) + 1, jnp.int32).at[where].set(10).at[-1].set(5)
    loop, state = make(Hook("mine", {}, log=lambda s: {"health/histogram/grads/w": counts}))
    fit(loop, state, BATCHES, epochs=1, observers=[tensorboard(tmp_path)])
    (found,) = {v.tag for e in events(tmp_path) for v in e.summary.value if v.HasField("histo")}
    histograms = [v.histo for e in events(tmp_path) for v in e.summary.value if v.tag == found]
    assert found == "step/health/histogram/grads/w" and len(histograms) == 3
    upper = dict(zip(histograms[0].bucket_limit, histograms[0].bucket, strict=True))
    assert {limit: n for limit, n in upper.items() if n} == {2.0: 10, 2 * HISTOGRAM_EDGES[-1]: 5}
    assert histograms[0].num == 15


def plugin_data(folder):
    """What the page HPARAMS is made of, by tag."""
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    return {
        value.tag: HParamsPluginData.FromString(value.metadata.plugin_data.content)
        for event in events(folder)
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "hparams"
    }


def test_hyperparameters_with_the_metrics_and_the_end(tmp_path):
    loop, state = make(terminate_on_nan())
    config = {"lr": 0.5, "model": "mlp", "flip": True, "out": tmp_path}
    fit(
        loop,
        state,
        BATCHES,
        epochs=1,
        observers=[tensorboard(tmp_path / "a", config=config, loop=loop)],
    )
    got = plugin_data(tmp_path / "a")
    start = got["_hparams_/session_start_info"].session_start_info.hparams
    assert start["lr"].number_value == 0.5 and start["flip"].bool_value
    assert start["model"].string_value == "mlp" and start["out"].string_value == str(tmp_path)
    tags = {info.name.tag for info in got["_hparams_/experiment"].experiment.metric_infos}
    assert "epoch/mae" in tags and tags <= {tag for tag, _ in scalars(tmp_path / "a")}
    assert got["_hparams_/session_end_info"].session_end_info.status == 1  # success
    spoilt = [{name: x * math.nan for name, x in BATCHES[0].items()}]
    observers = [tensorboard(tmp_path / "b", config=config, loop=loop)]
    loop, state = make(terminate_on_nan())
    fit(loop, state, spoilt, epochs=1, observers=observers)
    assert plugin_data(tmp_path / "b")["_hparams_/session_end_info"].session_end_info.status == 2
    assert [v for (tag, _), v in scalars(tmp_path / "b").items() if tag.startswith("faults/")] == [
        1
    ]


def test_images_stand_under_names_of_any_letters(tmp_path):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    write_images(tmp_path, {"worst/00 <é> as": pixels, "gray": pixels[..., :1]}, 7)
    found = {v.tag: v.image for e in events(tmp_path) for v in e.summary.value}
    assert list(found) == ["worst/00_____as", "gray"]
    image = Image.open(io.BytesIO(found["worst/00_____as"].encoded_image_string))
    np.testing.assert_array_equal(np.asarray(image), pixels)


def test_values_that_are_not_finite_are_written_without_a_word(tmp_path, caplog, capfd):
    """Without validation the row's loss of it is NaN; infinity comes by a loss over all bounds."""
    loop, state = make(nan_at(1), at(2, math.inf))
    observer = tensorboard(tmp_path)
    fit(loop, state, BATCHES, epochs=1, observers=[observer])
    got = scalars(tmp_path)
    assert math.isfinite(got["step/loss", 1]) and math.isnan(got["step/loss", 2])
    assert got["step/loss", 3] == math.inf and math.isnan(got["epoch/valid_loss", 3])
    assert not [record for record in caplog.records if record.name.startswith("tensorboardX")]
    assert capfd.readouterr() == ("", "")


def test_values_beyond_float32_are_infinite(tmp_path, caplog):
    observer = tensorboard(tmp_path)
    _, state = make()
    observer.on["before_fit"](Report("before_fit", state, 0, 1, 0))
    row = {"large": 1e300, "small": -1e300, "none": -math.inf}
    observer.on["after_epoch"](Report("after_epoch", state, 0, 1, 0, row=row))
    observer.on["after_fit"](Report("after_fit", state, 0, 1, 0))
    got = {tag: value for (tag, _), value in scalars(tmp_path).items()}
    assert got == {f"epoch/{name}": math.copysign(math.inf, x) for name, x in row.items()}
    assert not caplog.records
    logging.getLogger("tensorboardX.x2num").warning("of someone else")
    assert [record.message for record in caplog.records] == ["of someone else"]


def test_a_second_fit_hides_what_would_come_after_it(tmp_path, monkeypatch):
    """Also if it begins in the same second, after which the files are named."""
    monkeypatch.setattr("time.time", lambda: 1e9)
    loop, state = make()
    state, _ = fit(loop, state, BATCHES, epochs=1, observers=[tensorboard(tmp_path)])
    fit(loop, state, BATCHES, epochs=1, observers=[tensorboard(tmp_path)])
    starts = [e.step for e in events(tmp_path) if e.session_log.status == 1]
    assert starts[-1] == 4  # TensorBoard drops earlier points from this step on
    assert sorted(step for tag, step in scalars(tmp_path) if tag == "step/loss") == [*range(1, 7)]


def never_due(monkeypatch):
    """After the first look no second ever passes: all else waits for a flush or an epoch's end."""
    monkeypatch.setattr("gradtx.observers.throttle.monotonic", lambda: 0.0)


def steps(folder):
    return sorted(step for tag, step in scalars(folder) if tag == "step/loss")


def test_a_stopped_and_resumed_run_has_every_step(tmp_path, monkeypatch, capsys):
    """With the observers of a run; at the stop already, since a killed process does no more."""
    never_due(monkeypatch)
    loop, state = make()
    options, valid = RunOptions(), BATCHES[:1]
    some = partial(observers_for, options, loop, len(BATCHES), tmp_path, [], must_match={})
    with pytest.raises(Interrupted):
        fit(loop, state, BATCHES, valid, epochs=3, observers=some(stop=lambda step: step == 5))
    assert steps(tmp_path / "tensorboard") == [1, 2, 3, 4, 5]
    goes_on = resume(tmp_path / "checkpoints", say=lambda line: None)
    fit(loop, state, BATCHES, valid, epochs=3, observers=some(), resume=goes_on)
    assert steps(tmp_path / "tensorboard") == [*range(1, 10)]


def test_flush_leaves_nothing_to_write(tmp_path, monkeypatch):
    """Before a fit there is nothing, and no file."""
    never_due(monkeypatch)
    loop, state = make()
    observer, seen = tensorboard(tmp_path / "new"), []
    observer.flush()
    assert not any(tmp_path.iterdir())

    def look(report):
        observer.flush()
        seen.append(steps(tmp_path / "new"))

    fit(loop, state, BATCHES, epochs=1, observers=[observer, Observer({"after_batch": look})])
    assert seen == [[1], [1, 2], [1, 2, 3]]


def test_an_observer_of_a_fit_that_raised_begins_anew(tmp_path, monkeypatch):
    never_due(monkeypatch)
    loop, state = make()
    observer = tensorboard(tmp_path)

    def train(epoch, start):
        yield from BATCHES
        raise RuntimeError("reader")

    with pytest.raises(RuntimeError, match="reader"):
        fit(loop, state, train, epochs=1, observers=[observer])
    (first,) = tmp_path.iterdir()
    first.unlink()
    fit(loop, state, BATCHES[:1], epochs=1, observers=[observer])
    assert steps(tmp_path) == [1]


def test_records_are_framed_as_tensorboardx_does_it(tmp_path):
    from tensorboardX.record_writer import RecordWriter

    loop, state = make()
    fit(loop, state, BATCHES, epochs=1, observers=[tensorboard(tmp_path / "new")])
    writer = RecordWriter(str(tmp_path / "again"))
    for event in events(tmp_path / "new"):
        writer.write(event.SerializeToString())
    writer.close()
    (made,) = (tmp_path / "new").iterdir()
    assert made.read_bytes() == (tmp_path / "again").read_bytes()


def test_what_cannot_be_written_is_tried_again_and_no_event_is_lost(tmp_path):
    """A directory in place of the file is what any user, root too, can't write to."""
    folder, aside = tmp_path / "events", tmp_path / "aside"
    loop, state = make()

    def block(report):
        (path,) = folder.iterdir()
        if report.epoch == 1:
            path.rename(aside)
            path.mkdir()
        if report.epoch == 2:
            path.rmdir()
            aside.rename(path)

    observers = [tensorboard(folder), Observer({"before_epoch": block})]
    fit(loop, state, BATCHES, epochs=3, observers=observers)
    assert steps(folder) == [*range(1, 10)]
    assert [step for tag, step in scalars(folder) if tag == "epoch/train_loss"] == [3, 6, 9]


def test_what_cannot_be_written_to_the_end_is_an_error(tmp_path):
    loop, state = make()

    def block(report):
        (path,) = tmp_path.iterdir()
        path.unlink()
        path.mkdir()

    observers = [tensorboard(tmp_path), Observer({"before_epoch": block})]
    with pytest.raises(OSError, match="events"):
        fit(loop, state, BATCHES, epochs=1, observers=observers)


def test_without_tensorboardx_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"needs tensorboardX.*pip install gradtx"):
        tensorboard(tmp_path)
