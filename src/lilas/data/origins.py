"""Names of data files: what a study calls them, wherever links lead."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def plain(path: str | Path) -> Path:
    """Returns a path from the root, its links not followed: a link's name is the file's.

    Only what leads to `..` is resolved, which behind a link is another folder than it reads.
    """
    parts = Path(path).absolute().parts
    behind = len(parts) - parts[::-1].index("..") if ".." in parts else 0
    return Path(*parts[:behind]).resolve().joinpath(*parts[behind:]) if behind else Path(*parts)


def told_apart(paths: Sequence[str | Path]) -> list[str]:
    """Returns a name for each file of a split, no two alike.

    It is the file's own name; where several share it, the end of their paths that tells them apart:
    of joined datasets `one/data/test/a.hdf5` and `other/data/test/a.hdf5`.
    """
    parts = [plain(path).parts for path in paths]
    names = [own[-1] for own in parts]
    for count in range(2, max(map(len, parts), default=0) + 1):
        shared = Counter(names)
        if len(shared) == len(names):
            break
        names = [
            "/".join(own[-count:]) if shared[name] > 1 else name
            for own, name in zip(parts, names, strict=True)
        ]
    return names
