"""The report of a comparison, as one HTML file."""

from vicinal.compare.report.page import render, write_report

__all__ = ["render", "write_report"]
