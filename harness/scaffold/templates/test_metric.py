"""Every check of `mutoscope check my-plugin`, as a test."""

from harness.conformance import check_metric

from my_plugin import MyPlugin


def test_it_keeps_the_contract() -> None:
    check_metric(MyPlugin)
