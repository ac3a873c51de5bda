"""Files dated later than now, of a clock that was set back: nothing is lost or made for ever."""

import errno
import os
import time
from pathlib import Path

import pytest

from lilas import plan
from lilas.errors import LilasError
from lilas.plan.clock import date_back
from lilas.study.datasets import Folder
from lilas.study.read import Config, read_study

STUDIES = Path(__file__).parents[1] / "workflow" / "studies"
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
    date_back(files, [late[0]], str(results), [str(data)])
    now = time.time_ns()
    assert date(before) < date(late[0]) < date(late[1]) < date(late[2]) <= now
    assert date(str(twin)) == date(late[1])
    # What this run does not read, and is not ours, and what has no jobs, keeps its date.
    assert {path: date(path) for path in kept} == kept
    assert "warning: 4 files were dated later than now, up to " in capsys.readouterr().err
    date_back(files, [late[0]], str(results), [str(data)])
    assert capsys.readouterr().err == ""


def test_data_of_others_from_the_future_are_told_before_the_first_job(tmp_path):
    places = str(tmp_path / "results"), [str(tmp_path / "data")]
    (tmp_path / "results").mkdir()
    own = [dated(tmp_path / f"{name}.hdf5", DAY) for name in "ab"]
    # Nothing reads them.
    date_back(own, [], *places)
    kept = list(map(date, own))
    words = r"a\.hdf5: expected a file from before now, found one dated .*, and so are 1 more"
    with pytest.raises(LilasError, match=rf"{words}.*touch {own[0]}\)"):
        date_back(own, own, *places)
    assert kept == list(map(date, own))


def test_data_of_others_from_within_a_minute_are_waited_for(tmp_path, monkeypatch, capsys):
    """A job that is shorter would leave what is older than they are."""
    (tmp_path / "results").mkdir()
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    before = time.time_ns()
    ahead = [dated(tmp_path / "a.hdf5", 20 * 10**9), dated(tmp_path / "b.hdf5", 40 * 10**9)]
    date_back(ahead, ahead, str(tmp_path / "results"), [])
    # Files are dated by a clock that ticks more seldom.
    most = date(ahead[1]) - before + 10**8
    assert date(ahead[1]) - time.time_ns() <= waited[0] * 1e9 <= most
    assert f"s, until {ahead[1]} is no longer from the future" in capsys.readouterr().err
    date_back(ahead, [], str(tmp_path / "results"), [])
    assert len(waited) == 1


def test_now_is_that_of_the_files_and_not_of_this_machine(tmp_path, monkeypatch, capsys):
    """The file server's clock is a day ahead: nothing on it is from the future."""
    here = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: here() - DAY)
    files = [tmp_path / "own.hdf5", tmp_path / "results" / "a.json"]
    files[1].parent.mkdir()
    for file in files:
        file.touch()
    kept = [date(str(file)) for file in files]
    date_back([], [str(files[0])], str(tmp_path / "results"), [])
    assert [date(str(file)) for file in files] == kept
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_that_sets_no_times_stops_no_run_that_reads_none(
    tmp_path, monkeypatch, number
):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    late = dated(tmp_path / "results" / "a.json", DAY)
    monkeypatch.setattr(os, "utime", refuse)
    date_back([late], [], str(tmp_path / "results"), [])
    with pytest.raises(LilasError, match=r"a\.json: expected a file from before now"):
        date_back([late], [late], str(tmp_path / "results"), [])


@pytest.mark.parametrize("call", ["stat", "lstat", "utime"])
def test_a_file_may_vanish_at_any_moment(tmp_path, monkeypatch, capsys, call):
    """A job that is still at work deletes its parts."""
    late = dated(tmp_path / "results" / "train.part", DAY)
    known = getattr(os, call)

    def vanishing(path, *given, **named):
        if str(path) == late:
            Path(late).unlink(missing_ok=True)
        return known(path, *given, **named)

    monkeypatch.setattr(os, call, vanishing)
    # It is there when it is asked for, by whatever call.
    monkeypatch.setattr(os.path, "exists", lambda path: True)
    date_back([late], [late], str(tmp_path / "results"), [])
    assert capsys.readouterr().err == ""


def test_of_links_their_own_dates_are_set(tmp_path):
    """What they name may be an archive that is nobody's here."""
    results, data = tmp_path / "results", tmp_path / "data"
    results.mkdir()
    old, late = dated(tmp_path / "old.hdf5", -DAY), dated(tmp_path / "late.hdf5", DAY)
    kept = date(old), date(late)
    links = [data / "data" / "train" / name for name in ("old.hdf5", "late.hdf5")]
    links[0].parent.mkdir(parents=True)
    for link, target in zip(links, (old, late), strict=True):
        link.symlink_to(target)
        os.utime(link, ns=(date(late),) * 2, follow_symlinks=False)
    date_back([], [str(links[0])], str(results), [str(data)])
    assert os.lstat(links[0]).st_mtime_ns <= time.time_ns()
    with pytest.raises(LilasError, match=rf"touch -h {links[1]} {late}\)"):
        date_back([], list(map(str, links)), str(results), [str(data)])
    assert os.lstat(links[1]).st_mtime_ns <= time.time_ns()
    assert (date(old), date(late)) == kept


def test_what_the_pipeline_makes_is_ours_and_a_path_never_is():
    """Datasets below `data` that are simulated, The Well's, and on disk."""
    demo, paper = (read_study(STUDIES / f"{name}.yaml").datasets for name in ("demo", "paper"))
    simulated, well = demo["rayleigh_benard"], paper["rayleigh_benard"]
    own = well.model_copy(update={"source": Folder(kind="path", path="results/data/own")})
    study = read_study(STUDIES / "paper.yaml")
    study = study.model_copy(update={"datasets": {"a": simulated, "b": well, "c": own}})
    config = Config()
    files = {
        "a": plan.data_files(config, simulated),
        "b": plan.data_files(config, well),
        "c": {"train": ["results/data/own/data/train/0.hdf5"]},
    }
    assert plan.made_folders(config, study, files) == {
        f"results/data/{simulated.source.folder}/rayleigh_benard",
        "results/data/well/rayleigh_benard",
        "results/data/official",
    }
    assert "results/data/own" in plan.data_folders(config, files)


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
