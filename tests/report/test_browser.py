"""The page in headless Chromium, at both widths, light and dark: it can be explored, and holds."""

import json
import shutil

import numpy as np
import pytest

from gradtx.report import Validation, write_comparison, write_report, write_validation
from tests.report.made import make_search, write_lines

pytestmark = pytest.mark.thorough
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 2</script>",
    '"><img src=x onerror="window.hacked = 3">',
    "x' onmouseover='window.hacked = 4",
    "<!--",
    "שלום עולם",
    "two\nlines",
    "long" * 30,
]
VIEWS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]
FIRST = "figure.plot >> nth=0"


def make_run(path, *, seed=0, rate=0.1):
    """A run whose every name is hostile."""
    path.mkdir()
    rng = np.random.default_rng(seed)
    config = {HOSTILE[1]: HOSTILE[seed], "lr": rate, "optimizer": f"sgd {seed}", "batch_size": 8}
    (path / "config.json").write_text(json.dumps(config | {"model": HOSTILE[0], "dataset": "x"}))
    (path / "data.json").write_text(json.dumps({"classes": HOSTILE}))
    records, times = [], []
    for step in range(200):
        smooth = 2 * 0.99**step + seed / 5
        record = {"kind": "step", "step": step, "epoch": step // 50, "train_loss": smooth}
        record |= {"loss": smooth + 0.2 * rng.normal(), "learning_rate": {HOSTILE[0]: rate}}
        record |= {f"health/grad_norm/{HOSTILE[2]}.{k}": rng.random() for k in range(9)}
        records.append(record)
        if step % 50 == 49:
            row = {"train_loss": smooth, "valid_loss": smooth + 0.1, HOSTILE[2]: rng.random()}
            records.append({"kind": "epoch", "step": step + 1, "epoch": step // 50} | row)
            times.append({"kind": "epoch", "step": step + 1, "epoch": step // 50, "time": 1.5})
    write_lines(path / "metrics.jsonl", records)
    write_lines(path / "metrics.times.jsonl", times)
    labels = rng.integers(0, len(HOSTILE), 99).astype(np.int32)
    p = rng.dirichlet(np.ones(len(HOSTILE)), 99).astype(np.float32)
    images = rng.integers(0, 256, (4, 8, 8, 1)).astype(np.uint8)
    write_validation(
        Validation(labels, p, np.arange(4, dtype=np.int32), images), path / "validation.npz"
    )
    return path


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    base = tmp_path_factory.mktemp("pages")
    runs = [make_run(base / f"r<script>{i}&'\"", seed=i, rate=10.0**-i) for i in range(3)]
    search = make_search(base / "search", mode="max", metric=HOSTILE[0])
    return {
        "run": write_report(runs[0]),
        "comparison": write_comparison(runs, base / "comparison.html"),
        "search": write_report(search),
    }


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`")
    if CHROMIUM is None:
        pytest.skip("needs a Chromium, as of `apt-get install chromium`")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def visit(browser, pages):
    """Opens a page, and holds that nothing is said on the console, asked of the network, or run."""
    opened = []

    def visit(name, width=1280, scheme="light", *, script=True, touch=False):
        size = {"width": width, "height": 900}
        how = {"color_scheme": scheme, "java_script_enabled": script, "has_touch": touch}
        context = browser.new_context(viewport=size, **how)
        page, said = context.new_page(), []
        page.on("console", lambda message: said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.on(
            "request",
            lambda ask: ask.url.startswith(("data:", "file:")) or said.append(f"asked: {ask.url}"),
        )
        page.goto(pages[name].as_uri())
        opened.append((context, page, said, script))
        return page

    yield visit
    for context, page, said, script in opened:
        assert not script or page.evaluate("window.hacked") is None
        context.close()
        assert said == []


def shown(page, where=FIRST):
    """The pixels of a panel."""
    page.wait_for_timeout(150)
    return page.locator(f"{where} >> canvas").evaluate("x => x.toDataURL()")


def scroll_through(page):
    """Bring every panel into view once, with all that is folded away."""
    page.evaluate("document.querySelectorAll('details').forEach(x => (x.open = true))")
    for y in range(0, page.evaluate("document.body.scrollHeight"), 500):
        page.evaluate(f"scrollTo(0, {y})")
        page.wait_for_timeout(20)


def luminance(page):
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, color[4:-1].split(", "))) / 3


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
@pytest.mark.parametrize("name", ["run", "comparison", "search"])
def test_a_page_fits_and_every_panel_is_live(visit, name, width, scheme):
    page = visit(name, width, scheme)
    scroll_through(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (luminance(page) > 128) == (scheme == "light")
    assert page.locator("figure.plot:not(.live)").count() == 0
    for panel in page.locator("figure.plot").all():
        labels = panel.locator(".u-label").all_inner_texts()
        assert all(labels) and len(labels) == len(set(labels)) >= 2  # the axis, and each line
        box = panel.locator(".u-over").bounding_box()
        assert box["width"] > 200 and box["height"] > 120
    sizes = "[...document.querySelectorAll('main *')].map(x => getComputedStyle(x).fontSize)"
    assert min(float(size.removesuffix("px")) for size in page.evaluate(sizes)) >= 11


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_zoom_hover_log_and_smoothing_change_the_plot(visit, width, scheme):
    page = visit("run", width, scheme)
    page.locator(FIRST).scroll_into_view_if_needed()
    start, over = shown(page), page.locator(f"{FIRST} >> .u-over")
    box = over.bounding_box()
    x, y = box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"]
    values = page.locator(f"{FIRST} >> .u-value")
    assert values.all_inner_texts() == ["–"] * 4
    page.mouse.move(x, y)
    page.wait_for_timeout(100)
    step, *told = values.all_inner_texts()
    assert abs(float(step) - 60) < 5 and all(float(text) > 0 for text in told)
    assert float(told[1]) == pytest.approx(2 * 0.99 ** (float(step) - 1), rel=1e-3)
    page.mouse.down()
    page.mouse.move(x + 80, y + 2, steps=4)
    page.mouse.up()
    page.mouse.move(2, 2)
    zoomed = shown(page)
    assert zoomed != start
    page.mouse.dblclick(x, y)
    page.mouse.move(2, 2)
    assert shown(page) == start
    log = page.locator(f"{FIRST} >> button", has_text="log y")
    log.click()
    assert log.get_attribute("aria-pressed") == "true" and shown(page) != start
    log.click()
    assert shown(page) == start
    for name in ("log x", "+"):
        page.locator(f"{FIRST} >> button", has_text=name).click()
        assert shown(page) != start
    page.locator(f"{FIRST} >> button", has_text="log x").click()
    page.locator(f"{FIRST} >> button", has_text="all").click()
    assert shown(page) == start
    page.locator("#smoothing").fill("0.9")
    assert shown(page) != start
    page.locator("#smoothing").fill("0")
    assert shown(page) == start
    page.locator("#log-y").check()
    assert shown(page) != start


def test_smoothing_is_the_mean_by_weights_that_decay(visit):
    page = visit("run")
    page.locator("#smoothing").fill("0.5")
    box = page.locator(f"{FIRST} >> .u-over").bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + 50)
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + 50)
    page.wait_for_timeout(150)
    # Of the line that each step's value is of, the last value: sum 0.5^(n-k) y_k, over the weights.
    _, smooth, *_ = page.locator(f"{FIRST} >> tr:not(.behind) .u-value").all_inner_texts()
    script = page.locator(f"{FIRST} >> script").text_content()
    (line,) = [
        each for each in json.loads(script)["lines"] if each["label"] == "training, each step"
    ]
    weights = 0.5 ** np.arange(len(line["y"]))[::-1]
    assert float(smooth) == pytest.approx(np.average(line["y"], weights=weights), rel=1e-3)


def test_a_theme_can_be_chosen_and_recolors_the_plots(visit):
    page = visit("run")
    light = shown(page)
    page.select_option("#theme", "dark")
    assert luminance(page) < 128 and shown(page) != light
    page.reload()
    assert luminance(page) < 128 and page.locator("#theme").input_value() == "dark"
    page.select_option("#theme", "auto")
    assert luminance(page) > 128


def test_a_run_can_be_hidden_everywhere(visit):
    page = visit("comparison")
    panel = page.locator(FIRST)
    panel.scroll_into_view_if_needed()
    before = shown(page)
    columns = lambda: page.locator("#options-that-differ thead th:visible").count()
    lines = lambda: page.locator(".parallel .entry:visible").count()
    assert (columns(), lines(), panel.locator(".u-series").count()) == (4, 3, 4)
    page.locator(".chip input >> nth=1").uncheck()
    assert shown(page) != before
    assert (columns(), lines(), panel.locator(".u-series").count()) == (3, 2, 3)
    page.locator(".chip input >> nth=1").check()
    assert shown(page) == before and columns() == 4


def test_a_runs_color_is_the_same_in_all_panels(visit):
    page = visit("comparison")
    scroll_through(page)
    rows = "[...document.querySelectorAll('.u-series')].map(x => [x.children[0].innerText,"
    found = page.evaluate(f"{rows} getComputedStyle(x.querySelector('.u-marker')).borderTopColor])")
    colors = {(label, color) for label, color in found if label != "steps"}
    assert len(colors) == len({label for label, _ in colors}) == 3


def test_parallel_lines_are_told_and_selected(visit):
    page = visit("comparison")
    told = page.locator("#runs-as-lines .told")
    how = told.inner_text()
    svg = page.locator("svg.parallel")
    svg.scroll_into_view_if_needed()
    page.locator(".entry >> nth=0").dispatch_event("pointerenter")
    assert told.inner_text() != how and "lr 1" in told.inner_text()
    page.locator(".entry >> nth=0").dispatch_event("pointerleave")
    assert told.inner_text() == how
    box = page.locator(".brush >> nth=1").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + 3
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 20, steps=3)
    page.mouse.up()
    assert page.locator(".entry.out").count() == 2
    page.mouse.click(x, y + 100)
    assert page.locator(".entry.out").count() == 0


def test_a_members_line_of_descent_is_shown(visit):
    page = visit("search")
    page.locator(".node[data-at='4 5']").dispatch_event("pointerenter")
    assert "round 4, step 50, member 5" in page.locator("#lineage .told >> nth=0").inner_text()
    assert page.locator(".node.on").count() == 5 and page.locator(".edge.on").count() == 4
    page.locator(".node[data-at='4 5']").dispatch_event("pointerleave")
    page.locator(".node[data-at='4 0']").dispatch_event("pointerenter")
    assert page.locator(".node.on").count() == 1  # it was begun anew


def test_tables_are_sorted_at_a_click(visit):
    page = visit("run")
    cells = lambda: page.locator("#classes tbody tr td:nth-child(3)").all_inner_texts()
    head = page.locator("#classes th", has_text="precision")
    head.click()
    first = cells()
    assert first == sorted(first, key=float)
    head.click()
    assert cells() == first[::-1]


def test_two_fingers_zoom(visit):
    page = visit("run", 390, touch=True)
    page.locator(FIRST).scroll_into_view_if_needed()
    before = shown(page)
    send = """(over) => {
        const box = over.getBoundingClientRect();
        const fire = (type, pointerId, x) => over.dispatchEvent(new PointerEvent(type,
            {pointerId, pointerType: "touch", clientX: box.left + x, clientY: box.top + 50}));
        fire("pointerdown", 1, 100);
        fire("pointerdown", 2, 150);
        fire("pointermove", 1, 60);
        fire("pointermove", 2, 190);
        fire("pointerup", 1, 60);
        fire("pointerup", 2, 190);
    }"""
    page.locator(f"{FIRST} >> .u-over").evaluate(send)
    assert shown(page) != before


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
@pytest.mark.parametrize("name", ["run", "comparison", "search"])
def test_it_can_be_read_without_scripts(visit, name, width, scheme):
    page = visit(name, width, scheme, script=False)
    assert page.locator(".controls:visible, .brush:visible, .told:visible").count() == 0
    charts = page.locator("figure.plot svg.chart:visible").count()
    assert charts == page.locator("figure.plot:visible").count()
    assert page.locator("table:visible").count() >= 1
    if name != "search":
        assert charts >= 4 and page.locator(".legend li:visible").count() >= charts
    body = page.locator("html").bounding_box()
    assert body["width"] <= width
    if name == "run":
        text = page.locator("#classes").inner_text()
        assert all(each.replace("\n", "\\n") in text for each in HOSTILE)
