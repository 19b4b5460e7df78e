"""Does a plugin keep the promises of `harness.api`? For plugins' own tests, and behind `mutoscope check`.

    from harness.conformance import check_method

    def test_it_keeps_the_promises_of_a_method() -> None:
        check_method(MyMethod)

raises one AssertionError that lists the failed checks, or returns a `Report`.
"""

from harness.conformance.backbones import check_backbone, examine_backbone
from harness.conformance.datasets import check_dataset, examine_dataset
from harness.conformance.methods import check_method, examine_method
from harness.conformance.metrics import check_metric, examine_metric
from harness.conformance.report import Check, Report
from harness.conformance.trackers import check_tracker, examine_tracker

__all__ = [
    "Check",
    "Report",
    "check_backbone",
    "check_dataset",
    "check_method",
    "check_metric",
    "check_tracker",
    "examine_backbone",
    "examine_dataset",
    "examine_method",
    "examine_metric",
    "examine_tracker",
]
