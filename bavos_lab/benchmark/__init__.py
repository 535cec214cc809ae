"""Time and memory of the clustering compared with a naive version: `bavos benchmark`."""

from .report import as_table, write_document
from .runs import CASES, METHODS, Case, Run, measure, run_benchmark

__all__ = [
    "CASES",
    "METHODS",
    "Case",
    "Run",
    "as_table",
    "measure",
    "run_benchmark",
    "write_document",
]
