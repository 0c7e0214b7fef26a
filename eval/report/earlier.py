"""What an earlier report, or a user, has left where a report shall go."""

from collections.abc import Collection, Iterable
from pathlib import Path

from clas_models.json_data import parse_json

RECORD_NAME = "report.json"


def lost_in(out: Path, runs: Collection[str], files: Iterable[Path]) -> str:
    """What the files of a report on `runs`, names of folders, would write over and not hold themselves, in words.

    Returns:
        "" where nothing is there, or a report on no other runs.
    """
    taken = [path for path in files if path.exists()]
    if not taken:
        return ""
    try:
        record = parse_json((out / RECORD_NAME).read_text(encoding="utf-8"))
        others = sorted({str(each["folder"]) for each in record["settings"] if "folder" in each} - set(runs))
    except (OSError, ValueError, KeyError, TypeError):
        return f"{taken[0].relative_to(out)} is there, which no report has written"
    return f"a report on {', '.join(others)} is there" if others else ""
