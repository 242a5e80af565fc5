"""What a run has left, on one page to explore: curves, classes, health, faults, options.

    write_report("runs/a")                                    # runs/a/report.html
    write_comparison(["runs/a", "runs/b"], "comparison.html")

The same by `gradtx report RUN [RUN...]`. A page needs no other file, no network and no
extra; any directory with a metrics.jsonl has one.
`plot_losses` and the like draw single plots as PNG files, without a display; they need matplotlib,
from the extra `plot`.
"""

from gradtx.report.page import comparison_page, report_page, write_comparison, write_report
from gradtx.report.plots import plot_losses, plot_lr_find, plot_schedule, plot_sweep
from gradtx.report.run import Run, count_faults, read_run
from gradtx.report.validation import Validation, read_validation, validate, write_validation

__all__ = [
    "Run",
    "Validation",
    "comparison_page",
    "count_faults",
    "plot_losses",
    "plot_lr_find",
    "plot_schedule",
    "plot_sweep",
    "read_run",
    "read_validation",
    "report_page",
    "validate",
    "write_comparison",
    "write_report",
    "write_validation",
]
