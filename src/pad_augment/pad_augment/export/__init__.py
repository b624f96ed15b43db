"""Datasets in other libraries' formats; each library is imported when it is asked for."""

from pad_augment.export.lerobot import export_lerobot

FORMATS = {"lerobot": export_lerobot}
"""Name of a format -> function(dataset, out, progress) -> ExportReport."""

__all__ = ["FORMATS", "export_lerobot"]
