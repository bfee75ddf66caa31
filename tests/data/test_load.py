"""Finding, downloading, caching, falling back; the small data sets; what is said of names and sizes."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from splitfed.data import DATASETS, Unavailable, describe, fetch, load, sources
from splitfed.data.cache import cached
from splitfed.data.class_folders import MedicalMnist
from splitfed.data.download import Deadlines, Download, download
from splitfed.data.idx import FILES, IdxMnist, Published, read_idx
from splitfed.data.source import Decoded
from splitfed.errors import DataError

from .conftest import write_archive, write_folder


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which a real HTTP server offers it."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *parts: _Files(*parts, directory=str(folder))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def nowhere() -> str:
    """An address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def _silent(what: str, done: int, total: int) -> None:
    """Progress that no one watches."""


def test_a_download_is_checked_cached_and_not_repeated(
    mirror: tuple[Path, str], tmp_path: Path, medical_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = mirror
    archive = write_archive(folder / "MedNIST.tar.gz", medical_files)
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    file = Download("MedNIST/MedNIST.tar.gz", (address + "gone", address + "MedNIST.tar.gz"), md5)
    monkeypatch.setitem(DATASETS, "medical_mnist", MedicalMnist(file))
    assert len(load("medical_mnist")) == 18
    archive.unlink()
    assert len(load("medical_mnist")) == 18
    assert fetch("medical_mnist") == tmp_path / "cache" / "downloads" / "MedNIST" / "MedNIST.tar.gz"


def test_a_wrong_checksum_is_a_failure_and_leaves_nothing(mirror: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = mirror
    (folder / "file").write_bytes(b"a captive portal's page")
    with pytest.raises(Unavailable, match="expected md5 0000, got"):
        download(Download("x/file", (address + "file",), "0000"), tmp_path / "to", _silent)
    assert list((tmp_path / "to" / "x").iterdir()) == []


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
            download(Download("file", (url,), ""), tmp_path, _silent, Deadlines(answer_s=0.2, stall_s=0.5))


def test_a_server_that_stops_in_the_middle_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                connection.recv(1 << 16)  # until the client hangs up

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/file"
        with pytest.raises(Unavailable, match="timed out"):
            download(Download("file", (url,), ""), tmp_path, _silent, Deadlines(answer_s=5, stall_s=0.2))
        thread.join()
    assert list(tmp_path.iterdir()) == []


def test_a_trickle_is_given_up_at_the_last_deadline(mirror: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = mirror
    (folder / "file").write_bytes(bytes(1000))
    with pytest.raises(Unavailable, match="not finished after 0 s"):
        download(Download("file", (address + "file",), ""), tmp_path / "to", _silent, Deadlines(total_s=0))


def test_offline_says_what_was_looked_for_where_and_the_way_out(
    nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "medical_mnist", MedicalMnist(Download("M.tar.gz", (nowhere + "M",), "")))
    monkeypatch.setenv("SPLITFED_DATA", str(tmp_path / "empty"))
    with pytest.raises(DataError) as caught:
        load("medical_mnist", data_root=tmp_path)
    message = str(caught.value)
    for part in ("AbdomenCT", "MedNIST.tar.gz", str(tmp_path), "empty (nothing there)", nowhere, "fallback", "fetch"):
        assert part in message


def test_offline_a_fallback_stands_in_loudly(nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "medical_mnist", MedicalMnist(Download("M.tar.gz", (nowhere + "M",), "")))
    monkeypatch.setitem(DATASETS, "phantoms", _small_phantoms())
    notices: list[str] = []
    stand_in = load("medical_mnist", fallback="phantoms", on_notice=notices.append)
    assert stand_in.name == "phantoms"
    assert stand_in.synthetic
    assert stand_in.shape == (1, 28, 28)
    assert len(notices) == 1
    assert notices[0].startswith("SYNTHETIC IMAGES: phantoms stands in for medical_mnist")


def _small_phantoms() -> object:
    from splitfed.data.phantoms import Phantoms

    return Phantoms(per_class=2)


def test_data_that_are_there_are_never_replaced_by_the_fallback(
    tmp_path: Path, medical_files: dict[str, bytes]
) -> None:
    write_folder(tmp_path / "MedNIST", medical_files)
    notices: list[str] = []
    assert load("medical_mnist", data_root=tmp_path, fallback="phantoms", on_notice=notices.append).name != "phantoms"
    assert notices == []


def test_the_cache_follows_the_source_and_the_size(tmp_path: Path, medical_files: dict[str, bytes]) -> None:
    folder = write_folder(tmp_path / "MedNIST", medical_files)
    calls: list[str] = []
    for _ in range(2):
        load("medical_mnist", data_root=tmp_path, on_progress=lambda what, *_: calls.append(what))
    assert calls == ["decoding MedNIST"]  # the second time it is not decoded
    assert load("medical_mnist", data_root=tmp_path, image_size=32).shape == (1, 32, 32)
    (folder / "Hand" / "000000.jpeg").unlink()
    assert len(load("medical_mnist", data_root=tmp_path)) == 17


def test_a_damaged_cache_entry_is_built_again(tmp_path: Path, medical_files: dict[str, bytes]) -> None:
    write_folder(tmp_path / "MedNIST", medical_files)
    before = np.array(load("medical_mnist", data_root=tmp_path).pixels)
    (pixels,) = (tmp_path / "cache" / "decoded").glob("*/pixels.npy")
    pixels.write_bytes(pixels.read_bytes()[:200])
    assert np.array_equal(load("medical_mnist", data_root=tmp_path).pixels, before)


def test_an_interrupted_decoding_leaves_nothing(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "pixels.npy").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "name", "identity", 28, build)
    assert list((tmp_path / "decoded").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SPLITFED_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot write decoded images to .*file.*set SPLITFED_CACHE"):
        load("phantoms")


def _idx(array: np.ndarray) -> bytes:
    head = bytes((0, 0, 8, array.ndim)) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.astype(np.uint8).tobytes()


def _mnist_files(folder: Path, seed: int = 0) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for part, count in (("train", 20), ("t10k", 10)):
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(_idx(rng.integers(0, 10, count)))
        packed = gzip.compress(_idx(rng.integers(0, 256, (count, 28, 28))))
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(packed)


def _publish(monkeypatch: pytest.MonkeyPatch, name: str, folder: Path) -> None:
    """Let the files in ``folder`` be the published ones of the data set ``name``."""
    source = DATASETS[name]
    assert isinstance(source, IdxMnist)
    packed, unpacked = [], []
    for name_unpacked in FILES:
        plain, file_name = folder / name_unpacked, f"{name_unpacked}.gz"
        data = plain.read_bytes() if plain.exists() else gzip.decompress((folder / file_name).read_bytes())
        gz = folder / file_name
        packed.append(hashlib.md5(gz.read_bytes() if gz.exists() else b"").hexdigest())
        unpacked.append(hashlib.md5(data).hexdigest())
    of_these = Published((), tuple(packed))
    known = replace(source, published=lambda: of_these, unpacked_md5=tuple(unpacked))
    monkeypatch.setitem(DATASETS, name, known)
    monkeypatch.setattr("splitfed.data.idx." + name.upper(), known)


def test_idx_files_packed_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _mnist_files(tmp_path / "MNIST" / "raw")
    _publish(monkeypatch, "mnist", tmp_path / "MNIST" / "raw")
    digits = load("mnist", data_root=tmp_path)
    assert digits.shape == (1, 28, 28)
    assert len(digits) == 30
    assert digits.location == tmp_path / "MNIST" / "raw"
    assert load("mnist", data_root=tmp_path, image_size=14).shape == (1, 14, 14)


def test_idx_files_are_known_by_their_checksums_and_not_by_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root called ``mnist`` that holds both gives each its own, whatever their folders are called."""
    root = tmp_path / "mnist"
    for name, folder, seed in (("mnist", "digits", 0), ("fashion_mnist", "FashionMNIST/raw", 1)):
        _mnist_files(root / folder, seed)
        _publish(monkeypatch, name, root / folder)
    assert load("mnist", data_root=root).location == root / "digits"
    assert load("fashion_mnist", data_root=root).location == root / "FashionMNIST" / "raw"
    with pytest.raises(
        DataError, match=r"published files of mnist, .* another checksum; they are those of fashion_mnist"
    ):
        load("mnist", path=root / "FashionMNIST" / "raw")


def test_other_idx_files_in_the_folder_of_the_name_are_refused(tmp_path: Path) -> None:
    _mnist_files(tmp_path / "MNIST" / "raw")
    with pytest.raises(DataError, match=r"MNIST/raw: expected the published files of mnist, found train-images"):
        load("mnist", data_root=tmp_path)
    with pytest.raises(DataError, match=r"data fetch fashion_mnist"):
        load("fashion_mnist", path=tmp_path / "MNIST" / "raw")


def test_bad_idx_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    _mnist_files(folder)
    images = folder / "train-images-idx3-ubyte.gz"
    whole = images.read_bytes()
    for damaged, message in (
        (whole[:-200], "expected a whole gzip file"),
        (gzip.compress(gzip.decompress(whole)[:-1]), r"expected 20 × 28 × 28 = 15,680 bytes.*found 15,679"),
        (gzip.compress(b"\x89PNG"), "expected an idx file of bytes"),
    ):
        images.write_bytes(damaged)
        with pytest.raises(DataError, match=message):
            read_idx(images)
    images.unlink()
    with pytest.raises(DataError, match="found 3 of them"):
        load("mnist", path=folder)


def test_as_many_images_as_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "MNIST" / "raw"
    _mnist_files(folder)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(np.zeros((19, 28, 28)))))
    _publish(monkeypatch, "mnist", folder)
    with pytest.raises(DataError, match="expected as many images as labels"):
        load("mnist", data_root=tmp_path)


def test_idx_files_are_downloaded(mirror: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, address = mirror
    source = DATASETS["mnist"]
    assert isinstance(source, IdxMnist)
    _mnist_files(folder / "MNIST")
    files = []
    for name in (f"{name}.gz" for name in FILES):
        packed = folder / name
        plain = folder / "MNIST" / name.removesuffix(".gz")
        packed.write_bytes(
            gzip.compress(plain.read_bytes()) if plain.exists() else (folder / "MNIST" / name).read_bytes()
        )
        files.append(hashlib.md5(packed.read_bytes()).hexdigest())
    of_these = Published((address,), tuple(files))
    monkeypatch.setitem(DATASETS, "mnist", replace(source, published=lambda: of_these))
    assert fetch("mnist", tmp_path / "to") == tmp_path / "to" / "MNIST" / "raw"
    assert len(load("mnist", data_root=tmp_path / "to")) == 30


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("mnist", "f68b3c2dcbeaaa9fbdd348bbdeb94873", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        (
            "fashion_mnist",
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
    ],
)
def test_idx_files_have_the_published_checksums_and_a_mirror_more_than_torchvision_knows(
    name: str, first: str, last: str
) -> None:
    source = DATASETS[name]
    assert isinstance(source, IdxMnist)
    mirrors, md5 = source.published()
    assert md5[0] == first
    assert len(md5) == len(source.unpacked_md5) == len(FILES)
    assert len(mirrors) >= 2
    assert mirrors[-1] == last
    assert all(mirror.endswith("/") for mirror in mirrors)


def test_digits_keep_their_size_unless_asked() -> None:
    small, large = load("digits"), load("digits", image_size=28)
    assert small.shape == (1, 8, 8)
    assert large.shape == (1, 28, 28)
    assert small.pixels.max() == 255
    assert np.array_equal(small.labels, large.labels)


def test_wrong_names_and_sizes() -> None:
    with pytest.raises(DataError, match="unknown data set 'medical_mnst'; did you mean 'medical_mnist'"):
        load("medical_mnst")
    with pytest.raises(DataError, match="did you mean 'phantoms'"):
        load("digits", fallback="phantom")
    with pytest.raises(DataError, match="size is 7; expected at least 8"):
        load("digits", image_size=7)
    with pytest.raises(DataError, match="digits: takes no path"):
        load("digits", path="x")
    with pytest.raises(DataError, match="expected a folder, found nothing there"):
        load("medical_mnist", data_root="/no/such/folder")


def test_every_data_set_describes_itself_in_a_line() -> None:
    lines = dict(describe())
    assert set(DATASETS) <= set(lines)
    assert all(line and "\n" not in line for line in lines.values())
    assert all(name == source.name for name, source in DATASETS.items())
    assert fetch("digits") is None


def test_a_plug_in_is_found_but_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stripes.py").write_text(PLUG_IN)
    info = tmp_path / "stripes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stripes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[splitfed.datasets]\nstripes = stripes:STRIPES\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stripes", raising=False)  # another test's, of the same name
    assert load("stripes", image_size=10).shape == (3, 10, 10)
    assert ("stripes", "black and white") in describe()
    assert sources()["digits"] is DATASETS["digits"]


PLUG_IN = """
import numpy as np
from splitfed.data import DatasetSource, Decoded

class Stripes(DatasetSource):
    name, summary, default_image_size = "stripes", "black and white", 8

    def read(self, request):
        pixels = np.zeros((4, 3, request.image_size, request.image_size), np.uint8)
        return Decoded(pixels, np.arange(4), ("a", "b", "c", "d"), "")

STRIPES = Stripes()
"""


def test_an_entry_that_lacks_an_array_or_a_row_is_built_again(tmp_path: Path, medical_files: dict[str, bytes]) -> None:
    write_folder(tmp_path / "MedNIST", medical_files)
    before = load("medical_mnist", data_root=tmp_path)
    for name in ("labels", "digests"):
        (file,) = (tmp_path / "cache" / "decoded").glob(f"*/{name}.npy")
        np.save(file, np.load(file)[:-2])
        assert len(load("medical_mnist", data_root=tmp_path).labels) == len(before)
        (file,) = (tmp_path / "cache" / "decoded").glob(f"*/{name}.npy")
        file.unlink()
        assert load("medical_mnist", data_root=tmp_path).identity == before.identity


def test_an_earlier_version_of_the_same_images_is_removed(tmp_path: Path, medical_files: dict[str, bytes]) -> None:
    folder = write_folder(tmp_path / "MedNIST", medical_files)
    for number in range(3):
        (folder / "Hand" / f"more{number}.jpeg").write_bytes(medical_files["Hand/000000.jpeg"])
        load("medical_mnist", data_root=tmp_path)
    load("medical_mnist", data_root=tmp_path, image_size=32)
    assert len(list((tmp_path / "cache" / "decoded").iterdir())) == 2  # one for each size


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path, medical_files: dict[str, bytes]) -> None:
    write_folder(tmp_path / "MedNIST", medical_files)
    decoded = tmp_path / "cache" / "decoded"
    for name in (".partial-old", ".partial-new"):
        (decoded / name).mkdir(parents=True)
    os.utime(decoded / ".partial-old", (0, 0))
    load("medical_mnist", data_root=tmp_path)
    assert sorted(path.name for path in decoded.glob(".partial-*")) == [".partial-new"]


def test_nothing_half_written_is_read(tmp_path: Path) -> None:
    """Of two processes that build the same entry, the second keeps what the first has finished."""
    from splitfed.data.cache import write_entry

    def decoded(value: int) -> Decoded:
        return Decoded(np.full((2, 1, 8, 8), value, np.uint8), np.array([0, 1]), ("a", "b"), "")

    def slow(folder: Path) -> None:
        cached(tmp_path, "name", "identity", 8, lambda other: write_entry(other, decoded(1)))
        write_entry(folder, decoded(2))

    assert cached(tmp_path, "name", "identity", 8, slow).pixels.max() == 1
