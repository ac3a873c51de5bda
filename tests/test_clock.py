"""Files dated later than now, of a clock that was set back: nothing is lost or made for ever."""

import os
import time
from pathlib import Path

import pytest

from lilas.errors import LilasError
from lilas.plan.clock import date_back

DAY = 24 * 3600 * 10**9


def dated(path: Path, later: int) -> str:
    """Makes a file of this date, in nanoseconds from now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    date = time.time_ns() + later
    os.utime(path, ns=(date, date))
    return str(path)


def date(path: str) -> int:
    return os.stat(path).st_mtime_ns


def test_what_is_dated_later_than_now_is_dated_now_in_its_order(tmp_path, capsys):
    results, data = tmp_path / "results", tmp_path / "data"
    before = dated(results / "before", -10 * 10**9)
    late = [
        dated(data / "a.hdf5", DAY),
        dated(results / "b.json", DAY + 10**6),
        # No file that the run knows, and none of a store's own.
        dated(results / "run" / "c.json", 2 * DAY),
    ]
    twin = results / "twin.json"
    twin.touch()
    os.utime(twin, ns=(date(late[1]), date(late[1])))
    own, inside = dated(tmp_path / "own.hdf5", DAY), dated(results / "b.zarr" / "zarr.json", DAY)
    kept = {path: date(path) for path in (before, own, inside)}
    files = [before, late[0], late[1], own, str(results / "not there")]
    date_back(files, [late[0]], str(results), str(data))
    now = time.time_ns()
    assert date(before) < date(late[0]) < date(late[1]) < date(late[2]) <= now
    assert date(str(twin)) == date(late[1])
    # What this run does not read, and is not ours, and what has no jobs, keeps its date.
    assert {path: date(path) for path in kept} == kept
    assert "warning: 4 files were dated later than now, up to " in capsys.readouterr().err
    date_back(files, [late[0]], str(results), str(data))
    assert capsys.readouterr().err == ""


def test_data_of_others_from_the_future_are_told_before_the_first_job(tmp_path):
    paths = str(tmp_path / "results"), str(tmp_path / "data")
    ahead = dated(tmp_path / "ahead.hdf5", 30 * 10**9)
    date_back([ahead], [ahead], *paths)
    own = [dated(tmp_path / f"{name}.hdf5", DAY) for name in "ab"]
    date_back(own, [ahead], *paths)
    kept = list(map(date, own))
    words = r"a\.hdf5: expected a file from before now, found one dated .*, and so are 1 more"
    with pytest.raises(LilasError, match=rf"{words}.*touch {own[0]}\)"):
        date_back(own, own, *paths)
    assert kept == list(map(date, own))


def test_a_clock_is_set_back_and_a_shard_damaged(miniature, tmp_path):
    """What is finished stays so; of a manifest that is deleted, the damaged shard alone is made."""
    twin = miniature.copy(tmp_path / "twin")
    for path in twin.results.parent.rglob("*"):
        later = path.stat().st_mtime_ns + DAY
        os.utime(path, ns=(later, later))
    assert twin.planned() == {}
    manifest = twin.results / "convection" / "c16-s0" / "latents" / "train.json"
    whole = manifest.read_bytes()
    shards = {
        path: (date(str(path)), path.read_bytes())
        for path in (manifest.with_suffix(".zarr") / "latent" / "c").rglob("*")
        if path.is_file()
    }
    damaged = min(shards)
    harmed = bytearray(shards[damaged][1])
    harmed[len(harmed) // 3] ^= 1
    damaged.write_bytes(harmed)
    os.utime(damaged, ns=(shards[damaged][0],) * 2)
    manifest.unlink()
    assert twin.planned(str(manifest.relative_to(twin.folder))) == {"latents": 1}
    done = twin.run(str(manifest.relative_to(twin.folder)))
    assert "files were dated later than now" in done.stderr + done.stdout
    assert manifest.read_bytes() == whole
    assert all(path.read_bytes() == content for path, (_, content) in shards.items())
    made = {path for path, (was, _) in shards.items() if date(str(path)) != was}
    # A block's copies are encoded together.
    assert damaged in made
    assert len(made) < len(shards)
    assert twin.planned() == {}
