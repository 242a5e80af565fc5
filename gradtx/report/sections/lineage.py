"""The lineage of a search: who continued from whom, as a tree, and the last members."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradtx.drawing.markup import Markup, element, table
from gradtx.report.parallel import parallel
from gradtx.report.plot import Plot, Trace, figures
from gradtx.report.run import Run
from gradtx.report.searches import best_member, floats, line_of
from gradtx.report.sections.frame import note, number, section

KINDS = {"pbt": "Population-based training", "halving": "Successive halving"}
SPREAD = (("least", np.min, 2), ("median", np.median, 0), ("greatest", np.max, 4))
LEFT, TOP, BOTTOM = 74, 12, 40  # pixels
WIDTH, MOST, LEAST = 880, 90, 16  # of the drawing; between rounds
POINT = "Point at a member to see where it comes from."
LABELS = 12  # rounds, and members, that are named


def lineage(run: Run) -> list[Markup]:
    """The tree, a table of the rounds, and the members of the last round as parallel lines.

    Args:
        run: the run.
    """
    found = run.lineage
    if found is None:
        return []
    kind = KINDS.get(str(found.get("kind")), str(found.get("kind", "Search")))
    if not found["rounds"]:
        return [section("Lineage", note(f"{kind}: no round has ended yet."))]
    best = best_member(found)
    said = f"{kind} of {found['members']} members, {len(found['rounds'])} rounds."
    said += f" The score is {found['metric']}." if "metric" in found else ""
    said += f" The best of the last round is member {best}." if best is not None else ""
    how = "A row for each member, a column for each round; a line leads from the member that one"
    how += " continues from, a dotted one from the member whose hyperparameters it has, begun anew."
    how += " The stronger a point, the better its score among all."
    parts = [note(said), note(how), _tree(found, best), figures(_over_rounds(found, best))]
    parts += [_rounds(found), *_members(found, best)]
    return [section("Lineage", *parts)]


def _tree(found: Mapping[str, Any], best: int | None) -> Markup:
    rounds, count = found["rounds"], found["members"]
    across = max(LEAST, min(MOST, (WIDTH - LEFT - 20) // max(len(rounds) - 1, 1)))
    down = 22 if count <= 16 else 12 if count <= 64 else 7
    at = lambda r, m: (LEFT + 10 + r * across, TOP + 8 + m * down)
    line = {} if best is None else line_of(found, best)
    edges, nodes, texts = [], [], []
    strength = _ranks(found)
    for r, each in enumerate(rounds):
        for m, parent in enumerate(each["parents"]):
            x, y = at(r, m)
            near = -1 if parent >= 0 else each.get("near", each["parents"])[m]
            if r and max(parent, near) >= 0:
                x0, y0 = at(r - 1, max(parent, near))
                kind = "near" if parent < 0 else "taken" if parent != m else ""
                kind = "best" if line.get(r) == m and line.get(r - 1) == parent else kind
                # Only who continues has the other as an ancestor.
                where = {"data_from": f"{r - 1} {parent}", "data_to": f"{r} {m}"}
                where = where if parent >= 0 else {}
                half = (x0 + x) / 2
                path = f"M{x0} {y0}C{half} {y0} {half} {y} {x} {y}"
                edges.append((kind, element("path", d=path, class_=f"edge {kind}", **where)))
            title = element("title", _told(each, r, m, parent))
            style = {"class_": "node best" if line.get(r) == m else "node"}
            style |= {"style": f"--share:{strength[r, m]:.2f}", "data_at": f"{r} {m}"}
            nodes.append(element("circle", title, cx=x, cy=y, r=min(5, down // 2), **style))
        if r % -(-len(rounds) // LABELS) == 0:
            x, _ = at(r, 0)
            texts.append(_label(each["step"], x, at(0, count)[1] + 8, "middle"))
    for m in range(0, count, -(-count // LABELS)):
        texts.append(_label(f"member {m}", LEFT - 4, at(0, m)[1] + 4, "end"))
    width, height = at(len(rounds) - 1, 0)[0] + 24, at(0, count)[1] + BOTTOM
    texts.append(_label("steps", LEFT + 10, height - 8, "start"))
    drawn = [shape for kind in ("near", "", "taken", "best") for own, shape in edges if own == kind]
    alt = f"A tree of {count} members over {len(rounds)} rounds"
    how = {"role": "img", "aria_label": alt, "class_": "tree", "style": f"width:{width}px"}
    svg = element("svg", *texts, *drawn, *nodes, viewBox=f"0 0 {width} {height}", **how)
    said = element("p", POINT, class_="note told needs-script")
    return element("figure", element("div", svg, class_="wide"), said, class_="lines")


def _label(text: Any, x: float, y: float, anchor: str) -> Markup:
    return element("text", text, x=x, y=y, text_anchor=anchor)


def _told(each: Mapping[str, Any], r: int, m: int, parent: int) -> str:
    """A member of a round in words."""
    values = ", ".join(f"{name} {number(x[m])}" for name, x in each.get("hyperparams", {}).items())
    origin = "begun anew" if parent < 0 else f"continues from member {parent}" if r else "begun"
    score = number(each["scores"][m])
    return f"round {r}, step {each['step']}, member {m}: score {score}, {values}; {origin}"


def _ranks(found: Mapping[str, Any]) -> np.ndarray:
    """The rank of each score among all, from 0 to 1: float[rounds, members]."""
    sign = -1 if found.get("mode") == "min" else 1
    scores = sign * np.array([floats(each["scores"]) for each in found["rounds"]])
    known = np.sort(scores[np.isfinite(scores)])
    if not len(known):
        return np.zeros(scores.shape)
    rank = np.searchsorted(known, scores, side="right") / len(known)
    return np.where(np.isfinite(scores), rank, 0.0)


def _over_rounds(found: Mapping[str, Any], best: int | None) -> list[Plot]:
    """Scores and hyperparameters by round: how they spread, and those of the best's ancestors."""
    rounds = found["rounds"]
    steps = np.array([each["step"] for each in rounds], float)
    rows = {str(found.get("metric", "score")): [floats(each["scores"]) for each in rounds]}
    for name in rounds[-1].get("hyperparams", {}):
        none = [None] * found["members"]
        rows[name] = [floats(each.get("hyperparams", {}).get(name, none)) for each in rounds]
    line = {} if best is None else line_of(found, best)
    plots = []
    for name, values in rows.items():
        table_of = np.array(values)
        traces = [
            Trace(label, steps, _over_members(of, table_of), color) for label, of, color in SPREAD
        ]
        if line:
            own = [table_of[r, line[r]] if r in line else np.nan for r in range(len(rounds))]
            traces.append(Trace("the best and its ancestors", steps, np.array(own), 1))
        plots.append(Plot(name, traces))
    return plots


def _over_members(of: Callable[[np.ndarray], Any], values: np.ndarray) -> np.ndarray:
    """A figure of the finite values of each round, NaN where there are none."""
    finite = [row[np.isfinite(row)] for row in values]
    return np.array([float(of(row)) if len(row) else np.nan for row in finite])


def _rounds(found: Mapping[str, Any]) -> Markup:
    """A row for each round."""
    rows = []
    for r, each in enumerate(found["rounds"]):
        scores = floats(each["scores"])
        finite = scores[np.isfinite(scores)]
        spread = ["-"] * 3
        if len(finite):
            spread = [number(float(f(finite))) for f in (np.min, np.median, np.max)]
        moved = [p for m, p in enumerate(each["parents"]) if r and p != m]
        rows.append((r, each["step"], *spread, len(scores) - len(finite), len(moved)))
    header = ("round", "step", "least score", "median", "greatest", "without", "replaced")
    return table(header, rows)


def _members(found: Mapping[str, Any], best: int | None) -> list[Markup]:
    last = found["rounds"][-1]
    columns = {name: [*x] for name, x in last.get("hyperparams", {}).items()}
    columns |= {str(found.get("metric", "score")): [*last["scores"]]}
    if len(columns) < 2:
        return []
    names = [f"member {m}" for m in range(found["members"])]
    alt = f"A line for each member of the last round over {', '.join(columns)}"
    drawn = parallel(columns, names, alt=alt, best=best)
    return [note("The members of the last round, with their hyperparameters."), drawn]
