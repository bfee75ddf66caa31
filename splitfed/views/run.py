"""A run as a caller of the Python API holds it: where it lies, what it found, as a table or as a frame."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from splitfed.errors import UserError
from splitfed.records.store import RunStore
from splitfed.views import csv_table, table

if TYPE_CHECKING:
    from pathlib import Path

    import pandas

    from splitfed.records.results import Results


class Run:
    """A run directory whose cells, or some of them, are finished.

    Args:
        path: the directory, as `splitfed.run` and `splitfed scenario` make them.

    Raises:
        UserError: there is no run.
    """

    def __init__(self, path: str | Path) -> None:
        self._store = RunStore.open(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The directory."""
        return self._store.path

    @cached_property
    def results(self) -> Results:
        """What `results.json` held when this was first asked for.

        Raises:
            UserError: no cell has finished yet, or the file is damaged or of another version.
        """
        return self._store.results

    @property
    def valid(self) -> bool:
        """Whether all its gates passed; no figure of a run that is not valid is worth anything."""
        return self.results.valid

    def table(self) -> str:
        """The final table with how to read it, as Markdown."""
        return table.to_markdown(self.results)

    def frame(self) -> pandas.DataFrame:
        """Every number, one row per cell and attack or control, then the baselines; columns as in the CSV.

        Raises:
            UserError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise UserError("frame() needs pandas: pip install pandas") from None
        return pandas.DataFrame(list(csv_table.csv_rows(self.results)), columns=list(csv_table.CSV_FIELDS))
