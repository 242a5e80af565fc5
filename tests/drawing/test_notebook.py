"""What notebooks show: tables and curves as HTML, whatever the names are."""

import base64
import re
import sys
from html.parser import HTMLParser

import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx.drawing import draw, escape, fragment, grid
from gradtx.loop import History
from gradtx.tuning.lr_find import LrFind, suggest
from gradtx.tuning.sweep import Sweep, spread

HOSTILE = "<script>alert('x')</script>\ud800"


class Tags(HTMLParser):
    """The tags and the text of HTML; every tag is closed by its own."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text, self.images = [], [], "", []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def history():
    rows = [{"epoch": i, "train_loss": 2.0, "valid_loss": 1.5 - i, HOSTILE: 0.25} for i in range(2)]
    return History(rows, {"loss": np.array([2.0, np.nan]), "train_loss": np.array([2.0, 2.0])})


def lr_find_result():
    rates = np.geomspace(1e-5, 1, 40)
    losses = np.concatenate([np.full(10, 3.0), np.linspace(3, 1, 20), np.linspace(1, 9, 10)])
    return LrFind(rates, losses, losses, suggest(rates, losses, 40), 40)


def sweep_result():
    states = spread(gradtx.sgd(0.1, momentum=0.9).init(jnp.ones(2)), momentum=[0.5, 0.75, 0.8])
    rows = {"epoch": np.ones((3, 2)), "valid_loss": np.array([[9, 3], [8, 2], [7, 1.0]])}
    return Sweep(states, rows | {HOSTILE: np.ones((3, 2))}, np.array([False, False, True]))


def description():
    return gradtx.describe(gradtx.sgd(0.1), {HOSTILE: jnp.ones(2), "w": jnp.ones((2, 3))})


MADE = {"history": history, "lr_find": lr_find_result, "sweep": sweep_result, "tx": description}


@pytest.mark.parametrize("name", MADE)
def test_what_a_notebook_shows_is_well_formed_and_has_no_script_nor_colors_of_its_own(name):
    value = MADE[name]()
    text = value._repr_html_()
    text.encode()  # as a notebook saves it
    seen = Tags(text)
    assert set(seen.tags) <= {
        *("div", "p", "b", "img", "table", "thead", "tbody", "tr", "th", "td")
    }
    if name != "lr_find":
        assert "<script>alert('x')</script>" in seen.text  # as text
    assert not re.search(r"(?<!-)color:|background(?!:#fff)", text)  # of text and tables
    assert len(seen.images) == (0 if name == "tx" else 1)
    for found in seen.images:
        kind, data = found["src"].split(",")
        assert kind == "data:image/png;base64" and base64.b64decode(data)[:4] == b"\x89PNG"
        assert found["alt"] and "background:#fff" in found["style"]


def test_tables_have_the_numbers():
    assert "0.25" in Tags(history()._repr_html_()).text
    shown = Tags(sweep_result()._repr_html_()).text
    assert "0.75" in shown and "best" in shown and "failed" in shown
    assert sweep_result().best == 1  # the third is better, but was given up
    assert "2x3" in Tags(description()._repr_html_()).text
    found = lr_find_result()
    assert f"Learning rate {found.recommended:.3g}, by valley" in Tags(found._repr_html_()).text


def test_without_matplotlib_there_are_the_tables_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "gradtx.drawing.figure", raising=False)
    assert not Tags(history()._repr_html_()).images
    with pytest.raises(ImportError, match=r"gradtx.drawing needs matplotlib. Install"):
        history().figure()


def test_a_long_table_is_cut_in_its_middle():
    seen = Tags(grid(["epoch"], [[i] for i in range(1000)], most=10)).text
    assert "990 more" in seen and "999" in seen and "500" not in seen
    assert "more" not in Tags(grid(["epoch"], [[i] for i in range(10)], most=10)).text
    assert escape("a<b") == "a&lt;b" and Tags(fragment("a<b")).text == "a<b"


def test_figures_have_the_curves():
    figure = history().figure()
    loss, metric = figure.axes
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), [2.0, np.nan])
    np.testing.assert_array_equal(loss.lines[2].get_xydata(), [[1, 1.5], [2, 0.5]])
    np.testing.assert_array_equal(metric.lines[0].get_xydata(), [[1, 0.25], [2, 0.25]])
    # A name that is empty is in no legend.
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert texts == ["train, each step", "train, smooth", "validation"]
    both = History(
        [{"train_loss": 2.0, "train_error": 0.5, "error": 0.75, "matrix": [[1]]}]
    ).figure()
    assert [ax.get_ylabel() for ax in both.axes] == ["loss", "error"]
    shown = {line.get_label(): line.get_ydata()[0] for line in both.axes[1].lines}
    assert shown == {"train": 0.5, "validation": 0.75}
    epochs = History([{"train_loss": 2.0}, {"train_loss": 1.0}]).figure()
    np.testing.assert_array_equal(epochs.axes[0].lines[0].get_xydata(), [[1, 2], [2, 1]])
    (panel,) = [ax for ax in sweep_result().figure().axes if ax.get_ylabel() == "valid_loss"]
    np.testing.assert_allclose(panel.lines[0].get_xydata(), [[0.5, 3], [0.75, 2], [0.8, np.nan]])
    (curve,) = lr_find_result().figure().axes
    (line,) = [x for x in curve.lines if x.get_label().startswith("recommended")]
    np.testing.assert_allclose(line.get_xdata(), lr_find_result().suggestions["valley"])
    assert curve.get_ylim()[1] < 4  # not where it blows up
    with pytest.raises(ValueError, match=r"History.figure: the history must have steps or epochs"):
        History().figure()
    assert Tags(History()._repr_html_()).text == "A history without an epoch."


def test_a_drawing_shows_itself_where_no_pyplot_is():
    data = draw({"a": {"b": (np.arange(3), np.arange(3))}})._repr_png_()
    assert data[:4] == b"\x89PNG" and "matplotlib.pyplot" not in sys.modules
