"""The one-page report of a run: a single HTML file that needs nothing from outside."""

from pad_bringup.report.content import ReportContent, StageRecord
from pad_bringup.report.page import render, write_report

__all__ = ["ReportContent", "StageRecord", "render", "write_report"]
