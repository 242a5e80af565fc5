"""Plots: the files are PNGs, and what is drawn in them is what was given."""

import json
import struct

import jax.numpy as jnp
import matplotlib.figure
import numpy as np
import pytest

from gradtx import schedules
from gradtx.loop import History
from gradtx.report import Run, comparison_page, plot_losses, plot_lr_find, plot_schedule, plot_sweep
from gradtx.tuning.lr_find import LrFind


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved; each is checked to be a PNG of its own size."""
    figures = []
    save = matplotlib.figure.Figure.savefig

    def savefig(figure, path, **options):
        save(figure, path, **options)
        data = path.getvalue()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        size = figure.get_size_inches() * options["dpi"]
        assert struct.unpack(">II", data[16:24]) == tuple(size.astype(int))
        figures.append(figure)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)
    return figures


def lines(figure, row=0):
    return {line.get_label(): line.get_xydata().T for line in figure.axes[row].lines}


def test_schedules_by_name(tmp_path, drawn):
    cycle = schedules.one_cycle(0.1, 40)
    path = plot_schedule(cycle._asdict(), 40, tmp_path / "new" / "schedule.png")
    assert path == tmp_path / "new" / "schedule.png"
    (figure,) = drawn
    assert [ax.get_ylabel() for ax in figure.axes] == ["learning_rate", "momentum"]
    (x, y), *_ = lines(figure).values()
    np.testing.assert_array_equal(x, np.arange(40))
    np.testing.assert_allclose(y, cycle.learning_rate(jnp.arange(40)), rtol=1e-6)


def test_a_schedule_by_group_and_a_constant(tmp_path, drawn):
    by_group = lambda count: {"body": 0.1, "head": count / 10}
    plot_schedule(by_group, 5, tmp_path / "groups.png")
    got = lines(drawn[0])
    np.testing.assert_allclose(got["body"][1], 0.1)
    np.testing.assert_allclose(got["head"][1], np.arange(5) / 10)


def test_without_a_path_the_figure_is_returned():
    cycle = schedules.one_cycle(0.1, 4)
    ((x, y),) = lines(plot_schedule(cycle.learning_rate, 4)).values()
    np.testing.assert_array_equal(x, np.arange(4))
    np.testing.assert_allclose(y, cycle.learning_rate(jnp.arange(4)), rtol=1e-6)


def test_losses_of_a_history_with_a_nan(tmp_path, drawn):
    loss = np.array([3.0, 2.0, np.nan, 1.0])
    smooth = np.array([3.0, 2.5, 2.5, 2.0])
    rows = [{"valid_loss": 2.2}, {"valid_loss": 1.8}]
    plot_losses(History(rows, {"loss": loss, "train_loss": smooth}), tmp_path / "losses.png")
    got = lines(drawn[0])
    np.testing.assert_array_equal(got["train, each step"], [[1, 2, 3, 4], loss])
    np.testing.assert_array_equal(got["validation"], [[2, 4], [2.2, 1.8]])


def test_losses_of_a_file_with_an_unfinished_epoch(tmp_path, drawn):
    records = [{"kind": "step", "step": i, "loss": 2.0, "train_loss": 2.0} for i in range(3)]
    records.insert(2, {"kind": "epoch", "step": 2, "valid_loss": 1.5})
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    plot_losses(path, tmp_path / "losses.png")
    np.testing.assert_array_equal(lines(drawn[0])["validation"], [[2], [1.5]])


def test_losses_without_validation(tmp_path, drawn):
    one = np.array([2.0])
    history = History([{"valid_loss": np.nan}], {"loss": one, "train_loss": one})
    plot_losses(history, tmp_path / "losses.png")
    assert "validation" not in lines(drawn[0])


def test_a_sweep_with_its_suggestions_on_the_curve(tmp_path, drawn):
    rates = np.geomspace(1e-5, 1, 6)
    losses = np.array([3.0, 2.5, 2.0, 1.5, 4.0, np.inf])
    result = LrFind(rates, losses, losses, {"valley": 1e-3, "slide": None})
    plot_lr_find(result, tmp_path / "sweep.png")
    (figure,) = drawn
    assert figure.axes[0].get_xscale() == "log"
    _, valley = lines(figure).values()
    np.testing.assert_allclose(valley, [[1e-3], [2.0]])


def test_final_figures_of_a_sweep(tmp_path, drawn):
    rates = np.array([1e-3, 1e-2, 1e-1])
    figures = {"valid_loss": np.array([0.7, 0.5, np.inf]), "accuracy": np.array([0.6, 0.8, 0.1])}
    plot_sweep("learning_rate", rates, figures, tmp_path / "sweep.png")
    (figure,) = drawn
    assert [ax.get_ylabel() for ax in figure.axes] == ["valid_loss", "accuracy"]
    assert {ax.get_xscale() for ax in figure.axes} == {"log"}
    assert figure.axes[-1].get_xlabel() == "learning_rate"
    (losses,), (accuracies,) = (lines(figure, row).values() for row in (0, 1))
    np.testing.assert_array_equal(losses, [rates, [0.7, 0.5, np.nan]])
    np.testing.assert_array_equal(accuracies, [rates, figures["accuracy"]])


def test_every_point_is_drawn_and_all_curves_are_of_one_style(tmp_path, drawn):
    """A report's lines are thinned, since it has their text in it; an image's need not be."""
    loss = np.ones(5000)
    loss[1234] = 9.0  # a spike of one step
    plot_losses(History([], {"loss": loss, "train_loss": loss}), tmp_path / "losses.png")
    rates = np.geomspace(1e-3, 1, 20)
    plot_sweep("lr", rates, {"error": np.where(np.arange(20) % 2, np.nan, 1.0)}, tmp_path / "x.png")
    np.testing.assert_array_equal(lines(drawn[0])["train, each step"][1], loss)
    (points,) = drawn[1].axes[0].lines
    assert points.get_marker() == "o"  # a line would not show points that stand alone
    for figure in drawn:
        assert not figure.axes[0].spines["top"].get_visible()


def test_nothing_to_plot_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="plot_sweep: needs one figure"):
        plot_sweep("lr", np.ones(2), {}, tmp_path / "x.png")
    with pytest.raises(ValueError, match="plot_losses: the history must have steps"):
        plot_losses(History(), tmp_path / "x.png")
    with pytest.raises(ValueError, match="plot_schedule: needs a schedule and a step"):
        plot_schedule({}, 10, tmp_path / "x.png")
    with pytest.raises(FileNotFoundError):
        plot_losses(tmp_path / "missing.jsonl", tmp_path / "x.png")


@pytest.mark.parametrize("name", ["b$x_{$", "$$", r"\$\frac{$", "two\nlines", "caf\udce9", "_x"])
def test_a_name_is_drawn_as_it_is(tmp_path, name):
    """Whatever Matplotlib could take it for."""
    history = History([], {"loss": np.ones(3), "train_loss": np.ones(3)})
    run = Run(name=name, config={}, history=history)
    assert "<svg" in comparison_page({name: run, "other": run})
    assert plot_schedule({name: lambda t: t * 1.0}, 3, tmp_path / "x.png").exists()
