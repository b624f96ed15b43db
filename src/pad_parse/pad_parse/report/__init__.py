"""The report of a parse: what was seen, what was not, and whether the demonstration can be trusted."""

from pad_parse.report.page import write_parse_report
from pad_parse.report.statistics import RecordingStatistics, collect_statistics
from pad_parse.report.verdict import LIMITS, Finding, Level, Limit, Verdict, judge

__all__ = [
    "LIMITS",
    "Finding",
    "Level",
    "Limit",
    "RecordingStatistics",
    "Verdict",
    "collect_statistics",
    "judge",
    "write_parse_report",
]
