"""What a figure is made of: fewer points that keep what stands out, numbers, colours, PNG."""

import itertools
import json
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from gradtx.report.chart import chart, short, ticks
from gradtx.report.colors import DARK, LIGHT, LINES
from gradtx.report.parallel import parallel
from gradtx.report.plot import MOST, Plot, Trace, figure, figures, inline_json
from gradtx.report.png import png
from gradtx.report.thin import clean, thin
from tests.report.made import Page


@pytest.mark.parametrize("most", [4, 100, 2000])
def test_a_thinned_line_keeps_its_extremes_and_its_ends(most):
    rng = np.random.default_rng(0)
    y = rng.normal(size=12345)
    y[[7000, 7001]] = 50.0, -50.0
    x = np.arange(len(y)) * 2.0
    found = thin(x, y, most)
    assert len(found.x) <= most and (np.diff(found.x) > 0).all()
    assert {found.y.min(), found.y.max()} == {-50.0, 50.0}
    assert (found.x[0], found.x[-1]) == (x[0], x[-1])
    np.testing.assert_array_equal(found.y, y[(found.x / 2).astype(int)])
    assert found.mean is not None
    np.testing.assert_allclose(found.mean[1].mean(), y.mean(), atol=0.05)


def test_a_short_line_stays_whole():
    x, y = np.arange(5.0), np.ones(5)
    assert thin(x, y, 5).y is y and thin(x, y, 5).mean is None


def test_a_line_is_cleaned():
    """Finite, in the order of x, the last of several at one place: a run may have gone back."""
    x, y = clean(np.array([1.0, 2, 3, 2, np.nan, 4]), np.array([1.0, 2, np.inf, 5, 6, 7]))
    assert (x.tolist(), y.tolist()) == ([1, 2, 4], [1, 5, 7])


def plotted(markup):
    return json.loads(re.search(r"<script[^>]*>(.*?)</script>", markup, re.DOTALL)[1])


def test_a_long_run_has_a_bounded_page_that_says_so():
    steps = np.arange(1_000_000)
    loss = np.sin(steps / 1e5)
    loss[123_456] = 99.0
    plots = [Plot("p", [Trace("loss", steps, loss)])]
    plots += [Plot("p", [Trace("loss", steps[:5000], loss[:5000])])] * 39
    whole = str(figures(plots))
    assert len(whole) < 3_000_000
    (line,) = plotted(whole)["lines"]
    assert max(line["y"]) == 99 and len(line["x"]) <= MOST and len(line["mean"][0]) > 100
    assert "Of 1,000,000 points a line has 1,500 here: the least and the greatest" in whole


def test_the_script_has_the_numbers_of_the_lines():
    x, y = np.array([1.0, 2, 3]), np.float32([0.1, np.nan, 1e-7])
    whole = figure(Plot("</script>", [Trace("a\nb", x, y, 7, faint=True, run=2)]))
    data = plotted(whole)
    assert data["title"] == "</script>" and whole.count("</script>") == 1
    (line,) = data["lines"]
    assert line["label"] == "a\\nb" and (line["color"], line["faint"], line["run"]) == (7, True, 2)
    assert (line["x"], line["y"]) == ([1, 3], [0.1, 1e-7])
    assert "No finite value yet" in figure(Plot("x", [Trace("a", x, np.full(3, np.nan))]))


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "\u2028&amp;", '"]}', "\ud800"])
def test_json_within_a_page_is_text(text):
    data = inline_json({text: [text]})
    assert not set("<>&\u2028") & set(data) and json.loads(data) == {text: [text]}


@pytest.mark.parametrize(
    "y", [[0.0, 0.0], [5.0], [-1e300, 1e300], [1e-30, 2e-30], [3.0, 3.0 + 1e-13], [1e15, 1e15 + 1]]
)
def test_any_finite_line_is_drawn_within_its_box(y):
    found = Page(
        str(chart([(0, False, None, np.arange(len(y)) * 1.0, np.array(y))], xlabel="x", alt=""))
    )
    (path,) = (x["d"] for x in found.all("path") if "line" in x["class"])
    numbers = np.array([pair.split() for pair in path[1:].split("L")], float)
    assert np.isfinite(numbers).all() and (numbers >= -1).all() and (numbers <= 441).all()


def test_ticks_are_round_and_inside():
    for low, high in ((0.0, 1.0), (-3e-9, 7e-9), (0.001, 0.0010001), (-1e12, 3e15)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 7 and low <= found[0] and found[-1] <= high * (1 + 1e-9)
    assert [short(x) for x in (0.0, -0.5, 123456.0, 1.5e-9, -2e30)] == [
        "0",
        "-0.5",
        "123,456",
        "1.5e-9",
        "-2e30",
    ]


def test_parallel_axes_take_numbers_texts_and_nothing():
    columns = {"lr": [1e-3, 1e-1, 1e1], "name": ["<b>", "sgd", None], "same": [1, 1, 1]}
    columns |= {
        "none": [None, None, None],
        "flag": [True, False, True],
        "loss": [np.nan, 0.5, np.inf],
    }
    whole = str(parallel(columns, ["a", "b", "c"], alt="x", colors=range(3)))
    lines = re.findall(r'<path d="M([^"]*)" class="line', whole)
    heights = [[float(p.split()[1]) for p in line.split("L")] for line in lines]
    assert len({len(line) for line in heights}) == 1
    rates = [line[0] for line in heights]
    assert rates[0] - rates[1] == pytest.approx(rates[1] - rates[2], abs=0.2)  # logarithmic
    assert heights[0][5] == heights[2][5] == heights[2][1] > max(rates)  # where there is no value
    assert "&lt;b&gt;" in whole and "<b>" not in whole


def luminance(color):
    c = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a, b):
    a, b = sorted(luminance(x) @ [0.2126, 0.7152, 0.0722] for x in (a, b))
    return (b + 0.05) / (a + 0.05)


def lab(linear):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x = xyz @ np.clip(linear, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira and Fernandes (2009), severity 1.
BLIND = {
    "protan": "0.152286 1.052583 -0.204868 0.114503 0.786281 0.099216 -0.003882 -0.048116 1.051998",
    "deutan": "0.367322 0.860646 -0.227968 0.280085 0.672501 0.047413 -0.011820 0.042940 0.968881",
    "tritan": "1.255528 -0.076749 -0.178779 -0.078411 0.930809 0.147602 0.004733 0.691367 0.303900",
}
SEEN = [np.eye(3), *(np.array(x.split(), float).reshape(3, 3) for x in BLIND.values())]


@pytest.mark.parametrize("colors", [LIGHT, DARK])
def test_colors_stand_out_and_are_told_apart_by_the_color_blind(colors):
    for name in ("text", "muted", "accent", "bad"):
        for ground in ("page", "panel"):
            assert contrast(colors[name], colors[ground]) >= 4.5
    lines = [colors[f"line-{i}"] for i in range(LINES)]
    assert all(contrast(line, colors["page"]) >= 3 for line in lines)
    for matrix in SEEN:
        seen = [lab(matrix @ luminance(line)) for line in lines]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 14


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_has_the_pixels(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(np.uint8)
    found = np.asarray(Image.open(BytesIO(png(pixels)))).reshape(pixels.shape)
    np.testing.assert_array_equal(found, pixels)
