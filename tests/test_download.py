"""Downloads from a real server that resumes, breaks off, lies or refuses."""

import hashlib
import json
import shutil
import socket
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lilas.data import download as module
from lilas.data.arrival import check_arrived
from lilas.data.download import download
from lilas.data.well_writer import write_well
from lilas.errors import LilasError
from lilas.stages import download as stage
from lilas.study.datasets import Dataset
from lilas.study.tasks import Expected, expected


class Server:
    """One file on a server, and what the server does wrong.

    Attributes:
        content: The file.
        ranges: Whether range requests are honoured.
        honest: Whether a range is refused where `If-Range` names another version.
        drops: Bytes after which the connection is dropped, reply by reply; then replies are whole.
        status: Status of the replies, in turn; then 200.
        versions: Header that names the version: `ETag`, `Last-Modified` or none.
        length: Whether replies tell their length.
        claimed: Bytes that replies claim beyond those that they hold.
        most: Bytes that one reply to a range request holds at most.
        asked: Headers of the requests, in order.
    """

    def __init__(self) -> None:
        self.content = b""
        self.ranges, self.honest, self.versions, self.length = True, True, "ETag", True
        self.claimed, self.most = 0, 1 << 30
        self.drops: list[int] = []
        self.status: list[int] = []
        self.asked: list[dict[str, str]] = []
        self.address = ""

    @property
    def version(self) -> str:
        if self.versions == "Last-Modified":
            return f"Mon, 01 Jan 2024 00:00:{len(self.content) % 60:02d} GMT"
        tag = hashlib.sha256(self.content).hexdigest()[:8]
        return f'"{tag}"'

    def reply(self, to: BaseHTTPRequestHandler) -> None:
        self.asked.append(dict(to.headers))
        status = self.status.pop(0) if self.status else 200
        body, first, tag = self.content, 0, self.version
        if status != 200:
            body = b"<html>Not here</html>"
        elif self.ranges and not (self.honest and to.headers.get("If-Range", tag) != tag):
            first = int(to.headers.get("Range", "bytes=0-")[len("bytes=") : -1])
            status = 206 if "Range" in to.headers else 200
        sent = body[first : first + self.most] if status == 206 else body
        to.send_response(status)
        if self.length:
            to.send_header("Content-Length", str(len(sent) + self.claimed))
        if status == 206:
            last = first + len(sent) - 1
            to.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
        # A reply to If-Range repeats the ETag, but need not repeat the date (RFC 9110, 15.3.7).
        if (self.versions and status == 200) or (self.versions == "ETag" and status == 206):
            to.send_header(self.versions, self.version)
        to.end_headers()
        to.wfile.write(sent[: self.drops.pop(0)] if self.drops else sent)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "BACKOFF", 0.0)
    monkeypatch.setattr(module, "BLOCK", 1000)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.reply(self)

        def log_message(self, *args: object) -> None:
            pass

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{serving.server_address[1]}"
    yield state
    serving.shutdown()
    serving.server_close()
    thread.join()


def well(path: Path, seed: int = 0) -> bytes:
    """Writes a file of The Well of some 20 kB and returns its bytes."""
    write_well(
        path,
        dataset="random",
        fields={"density": np.random.default_rng(seed).normal(size=(2, 5, 16, 16))},
        time=np.arange(5),
        coordinates={"x": np.arange(16), "y": np.arange(16)},
        parameters={"gamma": 1.4},
        boundaries={"x": "open", "y": "open"},
    )
    return path.read_bytes()


@pytest.fixture
def target(server: Server, tmp_path: Path) -> Path:
    server.content = well(tmp_path / "source.hdf5")
    return tmp_path / "data" / "train" / "file.hdf5"


def fetch(server: Server, path: Path, **options: Any) -> None:
    download(f"{server.address}/train/{path.name}", path, progress=False, **options)


def alone(path: Path) -> bool:
    """Whether nothing lies beside a file."""
    return [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_file_arrives_as_it_is(server: Server, target: Path) -> None:
    fetch(server, target)
    assert target.read_bytes() == server.content
    assert alone(target)
    assert len(server.asked) == 1
    assert "Range" not in server.asked[0]
    assert server.asked[0]["Accept-Encoding"] == "identity"


def test_a_file_that_is_not_hdf5(server: Server, tmp_path: Path) -> None:
    server.content = b"mean:\n  density: 1.0\n"
    fetch(server, tmp_path / "new" / "stats.yaml")
    assert (tmp_path / "new" / "stats.yaml").read_bytes() == server.content
    assert alone(tmp_path / "new" / "stats.yaml")


@pytest.mark.parametrize("versions", ["ETag", "Last-Modified", ""])
def test_a_dropped_connection_is_resumed(server: Server, target: Path, versions: str) -> None:
    server.versions = versions
    server.drops = [10_000, 5_000]
    fetch(server, target)
    assert target.read_bytes() == server.content
    assert alone(target)
    assert [asked.get("Range") for asked in server.asked] == [
        None,
        "bytes=10000-",
        "bytes=15000-",
    ]
    assert server.asked[1].get("If-Range") == (server.version if versions else None)


def test_the_next_run_continues(server: Server, target: Path) -> None:
    server.drops = [10_000]
    with pytest.raises(LilasError, match=r"file.hdf5: no further after 1 .*10000 bytes are kept"):
        fetch(server, target, attempts=1)
    assert not target.exists()
    fetch(server, target)
    assert target.read_bytes() == server.content
    assert server.asked[1]["Range"] == "bytes=10000-"


def test_a_server_that_ignores_ranges_starts_over(server: Server, target: Path) -> None:
    server.ranges = False
    server.drops = [10_000]
    fetch(server, target)
    assert target.read_bytes() == server.content
    assert server.asked[1]["Range"] == "bytes=10000-"
    assert len(server.asked) == 2


def test_a_server_that_sends_less_than_asked(server: Server, target: Path) -> None:
    server.drops, server.most = [10_000], 8_000
    fetch(server, target)
    assert target.read_bytes() == server.content
    assert [asked.get("Range") for asked in server.asked[1:3]] == ["bytes=10000-", "bytes=18000-"]


@pytest.mark.parametrize("honest", [True, False])
def test_two_versions_are_never_joined(
    server: Server, target: Path, tmp_path: Path, honest: bool
) -> None:
    """The file changes between two runs."""
    old, new = server.content, well(tmp_path / "source.hdf5", seed=1)
    assert len(old) == len(new)
    cut = 2_000 + next(i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)
    assert old[cut:] != new[cut:]
    server.drops = [cut]
    with pytest.raises(LilasError):
        fetch(server, target, attempts=1)
    server.content = new
    server.honest = honest
    fetch(server, target)
    assert target.read_bytes() == server.content


def test_parts_of_other_origin_are_not_continued(server: Server, target: Path) -> None:
    part = target.with_name("file.hdf5.part")
    target.parent.mkdir(parents=True)
    part.write_bytes(b"of unknown origin")
    fetch(server, target)
    assert target.read_bytes() == server.content

    server.drops = [10_000]
    with pytest.raises(LilasError):
        fetch(server, target, attempts=1)
    shutil.move(part, part.with_name("other.hdf5.part"))
    shutil.move(f"{part}.json", part.with_name("other.hdf5.part.json"))
    fetch(server, target.with_name("other.hdf5"))
    assert "Range" not in server.asked[-1]
    assert target.with_name("other.hdf5").read_bytes() == server.content


def test_a_whole_part_is_not_asked_for_again(server: Server, target: Path) -> None:
    server.drops = [10_000]
    with pytest.raises(LilasError):
        fetch(server, target, attempts=1)
    target.with_name("file.hdf5.part").write_bytes(server.content)
    fetch(server, target)
    assert target.read_bytes() == server.content
    assert len(server.asked) == 1


def test_a_server_that_never_sends_the_rest(server: Server, target: Path) -> None:
    server.drops = [10_000] + [0] * 20
    with pytest.raises(LilasError, match=r"no further after 3 .*10000 bytes are kept"):
        fetch(server, target, attempts=3)
    assert not target.exists()
    # The first attempt brought bytes, so it is the first of three in a row that did not help.
    assert len(server.asked) == 3


def test_attempts_that_bring_bytes_are_not_counted(server: Server, target: Path) -> None:
    server.drops = [2_000] * 8
    fetch(server, target, attempts=2)
    assert target.read_bytes() == server.content
    assert len(server.asked) == 9


def test_a_truncated_file_on_the_server(server: Server, target: Path) -> None:
    server.content = server.content[:10_000]
    with pytest.raises(LilasError, match=r"file.hdf5: what arrived .* truncated"):
        fetch(server, target)
    assert not any(target.parent.iterdir())


def test_a_page_in_place_of_the_file(server: Server, target: Path) -> None:
    server.content = b"<html>Sign in</html>"
    with pytest.raises(LilasError, match=r"what arrived is not the file.* else than HDF5"):
        fetch(server, target)
    assert not any(target.parent.iterdir())


def test_a_damaged_file_on_the_server(server: Server, target: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "source.hdf5") as file:
        header = h5py.h5o.get_info(file["t0_fields/density"].id).addr
    content = server.content
    server.content = content[:header] + bytes(64) + content[header + 64 :]
    with pytest.raises(LilasError, match=r"what arrived is not the file.* damaged"):
        fetch(server, target)
    assert not any(target.parent.iterdir())


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_server_that_refuses(server: Server, target: Path, status: int) -> None:
    server.status = [status]
    with pytest.raises(LilasError, match=f"train/file.hdf5: the server answers {status} "):
        fetch(server, target)
    assert len(server.asked) == 1
    assert not any(target.parent.iterdir())


def test_a_server_in_trouble_is_asked_again(server: Server, target: Path) -> None:
    server.status = [500, 503, 429]
    fetch(server, target)
    assert target.read_bytes() == server.content
    server.status = [500] * 20
    with pytest.raises(LilasError, match=r"file.hdf5: no further after 5 .* answers 500 Internal"):
        fetch(server, target)


def test_trouble_keeps_what_has_arrived(server: Server, target: Path) -> None:
    server.drops, server.status = [10_000], [200, 503]
    fetch(server, target)
    assert target.read_bytes() == server.content
    assert [asked.get("Range") for asked in server.asked] == [
        None,
        "bytes=10000-",
        "bytes=10000-",
    ]


def test_a_range_that_the_server_cannot_satisfy(server: Server, target: Path) -> None:
    server.drops, server.status = [10_000], [200, 416]
    fetch(server, target)
    assert target.read_bytes() == server.content
    assert "Range" not in server.asked[2]


def test_a_reply_without_its_length(server: Server, target: Path) -> None:
    server.length = False
    with pytest.raises(LilasError, match="tells no length"):
        fetch(server, target)
    assert not target.exists()


def test_a_file_that_the_disk_has_no_room_for(server: Server, target: Path) -> None:
    server.claimed = 1 << 60
    with pytest.raises(LilasError, match=r"file.hdf5.part: expected 1.15e\+09 GB of room .* left"):
        fetch(server, target)
    assert len(server.asked) == 1
    assert not target.exists()


def test_addresses_that_nobody_answers(target: Path, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.hdf5"
        with pytest.raises(LilasError, match=r"no further after 2 .*refused"):
            download(url, target, attempts=2, progress=False)
    with pytest.raises(LilasError, match=r"files/a.hdf5: cannot be downloaded"):
        download("files/a.hdf5", tmp_path / "a.hdf5", progress=False)


def test_progress_counts_bytes(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.drops = [10_000]
    download(f"{server.address}/file.hdf5", target)
    shown = capsys.readouterr().err
    size = f"{len(server.content) / 1000:.1f}k"
    assert f"{size}/{size}" in shown
    assert "10.0k/" in shown


# --- Zip archives -----------------------------------------------------------------------------


@pytest.fixture
def archive(server: Server, tmp_path: Path) -> Path:
    """Where a run's folder of some 20 kB goes, once it is on the server."""
    values = np.random.default_rng(0).bytes(20_000)
    with zipfile.ZipFile(tmp_path / "source.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("run/config.yaml", "name: run\n" * 20)
        file.writestr("run/state.pth", values)
    server.content = (tmp_path / "source.zip").read_bytes()
    return tmp_path / "models" / "run.zip"


def test_a_zip_is_resumed(server: Server, archive: Path) -> None:
    server.drops = [10_000]
    fetch(server, archive)
    assert archive.read_bytes() == server.content
    assert alone(archive)
    assert [asked.get("Range") for asked in server.asked] == [None, "bytes=10000-"]


@pytest.mark.parametrize("change", ["cut", "page", "value", "crc", "method"])
def test_a_zip_that_is_not_whole_is_removed(server: Server, archive: Path, change: str) -> None:
    content = bytearray(server.content)
    with zipfile.ZipFile(archive.parents[1] / "source.zip") as file:
        config, state = file.infolist()
    # A local header has the method at byte 8; a central one, which begins with PK\1\2, at byte 10
    # and the CRC at byte 16.
    central = content.index(b"PK\1\2")
    if change == "cut":
        del content[10_000:]
    elif change == "page":
        content = bytearray(b"<html>Sign in</html>")
    elif change == "value":
        content[state.header_offset + 5_000] ^= 1
    elif change == "crc":
        assert content[central + 16 : central + 20] == config.CRC.to_bytes(4, "little")
        content[central + 16] ^= 1
    else:
        content[central + 10] = 99
    server.content = bytes(content)
    with pytest.raises(LilasError, match=r"run.zip: what arrived is not the file, and was removed"):
        fetch(server, archive)
    assert not any(archive.parent.iterdir())
    assert len(server.asked) == 1


# What `well` writes.
DENSITY = {
    "size": [16, 16],
    "fields": ["density"],
    "orders": {"density": 0},
    "parameters": [],
    "steps": None,
    "channels": None,
}


def test_another_file_than_expected_is_told_and_kept(server: Server, target: Path) -> None:
    """Once the study is mended, nothing is fetched again."""
    asked = Expected(**DENSITY | {"size": [32, 32]})
    with pytest.raises(LilasError, match=r"each axis: \[32, 32\], found \[16, 16\].*source\.size"):
        fetch(server, target, check=lambda path: check_arrived(path, asked))
    assert not target.exists()
    assert len(server.asked) == 1
    mended = asked.model_copy(update={"size": [16, 16]})
    fetch(server, target, check=lambda path: check_arrived(path, mended))
    assert target.read_bytes() == server.content
    assert alone(target)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"orders": {"density": 1}}, r"orders of the fields: .*'density': 1.*found .*'density': 0"),
        ({"fields": ["pressure"]}, "the fields pressure, varying in time"),
        ({"parameters": ["Re"]}, r"the parameter Re, found gamma\. .*label"),
        ({"steps": 6}, r"steps: 6, found 5\. .*source\.steps"),
        ({"channels": 2}, r"channels: 2, found 1\. .*source\.channels"),
        ({"steps": 5, "channels": 1, "parameters": ["gamma"]}, None),
    ],
)
def test_what_a_study_relies_on_is_looked_for_in_a_file(
    tmp_path: Path, change: dict[str, Any], words: str | None
) -> None:
    well(path := tmp_path / "a.hdf5")
    asked = Expected(**DENSITY | change)
    if words is None:
        check_arrived(path, asked)
    else:
        with pytest.raises(LilasError, match=rf"a\.hdf5: expected {words}"):
            check_arrived(path, asked)


def test_the_stage_looks_for_what_its_study_relies_on(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the workflow calls it: in a file of 16 x 16 points, of which none is a field `tracer`."""
    urls = {"train": [f"{server.address}/train/{target.name}"]}
    monkeypatch.setattr(stage, "well_urls", {"shear_flow": urls}.__getitem__)
    values = {"source": {"kind": "well", "name": "shear_flow", "size": [16, 16]}}
    values |= {"evaluation": {"start": 0, "horizons": [[1, 2]]}}
    expectations = [
        expected(Dataset(**values, states={"fields": [field]})).model_dump()
        for field in ("tracer", "pressure")
    ]
    arguments = ["--dataset", "shear_flow", "--split", "train", "--output", str(target)]
    told = ["--expected", json.dumps({"shear_flow": expectations})]
    monkeypatch.setattr(sys, "argv", ["download", *arguments, *told])
    with pytest.raises(LilasError, match=r"expected the fields tracer, .* only density"):
        stage.main()
    assert not target.exists()
    monkeypatch.setattr(sys, "argv", ["download", *arguments])
    stage.main()
    assert alone(target)
