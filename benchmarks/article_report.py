"""What came of the article's trainings: a table, a JSON file that can be gone on with, and plots.

`trainings` has, by name, what `benchmarks.article` trains; `results` a dict for each that is done.
"""

import json
import math

import numpy as np

from benchmarks.record import environment
from gradtx.drawing import draw
from gradtx.report.plots import write_png


def finite(value):
    """Return `value` with null for numbers that JSON has not."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def resume(path, settings):
    """Return the results that an earlier command with the same settings has left."""
    if not path.exists():
        return []
    try:
        old = json.loads(path.read_text())
        different = [k for k, v in settings.items() if old["settings"].get(k) != v]
        results = old["results"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"article: {path} must be what this command wrote; got something else ({error!r})."
            " Remove it, or name another --out."
        ) from error
    if different:
        name = different[0]
        raise ValueError(
            f"article: {path} must have the settings of this command; got {name}="
            f"{old['settings'].get(name)!r} for {settings[name]!r}. Name another --out."
        )
    return results


def accuracy(result):
    """Return the accuracy after the last epoch, or NaN."""
    stopped = result["failure"] is not None
    value = None if stopped else result["rows"][-1]["accuracy"]
    return math.nan if value is None else value


def by_training(trainings, results):
    """Return {name: its results}, in the chapter's order."""
    found = {name: [r for r in results if r["training"] == name] for name in trainings}
    return {name: group for name, group in found.items() if group}


def table(trainings, results, settings):
    """Return the table, as Markdown."""
    imagenette = settings["dataset"] == "imagenette"
    here = "the article's data" if imagenette else "not the article's data"
    lines = [
        f"# The article's trainings on {settings['data']}",
        "",
        f"{settings['model']} from scratch, {settings['epochs']} epochs, batches of"
        f" {settings['batch_size']} images at {settings['size']} px: {here}. The article's column"
        " is Imagenette, 3 epochs, batches of 128 at 128 px.",
        "",
        "| Training | Peak rate | Accuracy here | By seed | Article, Imagenette |",
        "|---|---|---|---|---|",
    ]
    for name, group in by_training(trainings, results).items():
        training, values = trainings[name], [accuracy(r) for r in group]
        spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
        seeds = ", ".join(f"{r['seed']}: {accuracy(r):.4f}" for r in group)
        given = "not given" if training.article is None else f"{training.article:g}"
        mean = f"{np.mean(values):.4f}{spread}"
        lines.append(f"| {training.title} | {training.rate:g} | {mean} | {seeds} | {given} |")
    for result in results:
        title = trainings[result["training"]].title
        if result["failure"] is not None:
            lines += ["", f"{title}, seed {result['seed']}: {result['failure']}."]
        if result["lr_find"]:
            found = result["lr_find"]["suggestions"]
            said = ", ".join(f"{k} {v:.3g}" for k, v in found.items() if v is not None)
            lines += ["", f"Suggested before {title}, seed {result['seed']}: {said}."]
    return "\n".join(lines) + "\n"


def plot(trainings, results, out):
    """Write curves.png, of the first seed that each training has, and lr_find.png."""
    first = {
        trainings[name].title: group[0] for name, group in by_training(trainings, results).items()
    }
    numbers = lambda values: np.array([math.nan if v is None else v for v in values])

    def column(result, name):
        steps = len(result["steps"]["train_loss"]) / max(len(result["rows"]), 1)
        y = numbers([row[name] for row in result["rows"]])
        return steps * np.arange(1, len(y) + 1), y

    def step(result, name):
        y = numbers(result["steps"][name])
        return np.arange(1, len(y) + 1), y

    panels = {
        "smooth training loss": {k: step(r, "train_loss") for k, r in first.items()},
        "validation loss": {k: column(r, "valid_loss") for k, r in first.items()},
        "accuracy": {k: column(r, "accuracy") for k, r in first.items()},
        "learning rate": {k: step(r, "learning_rate") for k, r in first.items()},
    }
    write_png(draw(panels), out / "curves.png")
    found = [r for r in results if r["lr_find"]]
    if found:
        pair = lambda f: (numbers(f["learning_rates"]), numbers(f["losses"]))
        lines = {f"seed {r['seed']}": pair(r["lr_find"]) for r in found}
        figure = draw({"smooth loss": lines}, xlabel="learning rate", log_x=True)
        write_png(figure, out / "lr_find.png")


def write(trainings, results, settings, out):
    """Write everything; the JSON file is replaced in one go."""
    written = {"settings": settings, "environment": environment(), "results": results}
    new = out / "article.json.new"
    new.write_text(json.dumps(finite(written)) + "\n")
    new.replace(out / "article.json")
    (out / "article.md").write_text(table(trainings, results, settings))
    plot(trainings, results, out)
