"""The record of its making that a file, or a folder of tables or figures, carries."""

import json
import re
from pathlib import Path
from typing import Any

from lilas.errors import broken
from lilas.files import read_json
from lilas.records.metrics import metrics_record
from lilas.records.provenance import as_json, check_record
from lilas.records.weights import read_record
from lilas.study import paths

# In the head of a page, of which it is the first part.
_HEAD = 2**16
_TAG = '<script type="application/json" id="provenance">'
_IN_PAGE = re.compile(f"{_TAG}(.*?)</script>", re.DOTALL)


def carried(path: Path) -> dict[str, Any] | None:
    """Returns the record that a file carries; None where such files have none.

    Raises:
        LilasError: the file or the record is damaged.
    """
    if path.is_dir():
        inside = path / paths.RECORD
        return carried(inside) if inside.is_file() else None
    if path.suffix == ".safetensors":
        return check_record(path, read_record(path))
    if path.suffix == ".parquet":
        return check_record(path, metrics_record(path))
    if path.suffix == ".json":
        # Claims of an earlier version have none.
        keys = () if path.name == paths.CLAIMS else ("provenance",)
        record = read_json(path, keys).get("provenance")
        return None if record is None else check_record(path, record)
    if path.suffix == ".html":
        with open(path, encoding="utf-8", errors="replace") as file:
            found = _IN_PAGE.search(file.read(_HEAD))
        if found is None:
            return None
        try:
            return check_record(path, json.loads(found[1]))
        except json.JSONDecodeError as error:
            action = "Delete it and run again."
            raise broken(path, "a record in JSON", f"a damaged one ({error})", action) from None
    return None


def with_record(page: str, record: dict[str, Any]) -> str:
    """Returns a page with the record of its making in its head, where nobody sees it."""
    # Nothing in a script ends it but this.
    text = as_json(record).replace("</", "<\\/")
    return page.replace("<style>", f"{_TAG}{text}</script>\n<style>", 1)


def files_of(folder: Path) -> list[Path]:
    """Returns the files of a folder of tables or figures, but for what tells of their making."""
    return sorted(
        path for path in folder.iterdir() if path.name != paths.RECORD and path.name[0] != "."
    )
