"""Paths as people write them, where the cache lies, and files that are written whole or not at all."""

from __future__ import annotations

import os
import pwd
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitfed import files
from splitfed.errors import UserError
from splitfed.files import cache_dir

needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")


def test_a_tilde_is_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert files.as_path("~/x") == Path("/somewhere/x")
    assert files.as_path(Path("~")) == Path("/somewhere")
    assert files.as_path("a/~b") == Path("a/~b")


@pytest.mark.parametrize(("path", "says"), [("", "a path is empty"), ("~nobody-of-this-name/x", "no home directory")])
def test_a_path_that_means_nothing_is_refused(path: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        files.as_path(path)


def test_a_file_is_replaced_whole_and_links_are_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "a", tmp_path / "link"
    link.symlink_to(target)
    files.write_whole(link, b"one")
    files.write_whole(link, b"two")
    assert target.read_bytes() == b"two"
    assert link.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"a", "link"}


def test_what_is_no_file_is_written_to_as_it_is(tmp_path: Path) -> None:
    files.write_whole(Path(os.devnull), b"text")
    assert Path(os.devnull).is_char_device()
    (tmp_path / "here").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*/here: Is a directory; .* name a dish"):
        files.write_whole(tmp_path / "here", b"text", elsewhere="name a dish")
    assert list(tmp_path.iterdir()) == [tmp_path / "here"]


def test_a_circle_of_links_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(UserError, match=r"cannot write .*/a: .*links"):
        files.write_whole(tmp_path / "a", b"text")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_named_with_the_way_out() -> None:
    with pytest.raises(UserError, match=r"cannot write /dev/full: No space left on device; free space there, or name"):
        files.write_whole(Path("/dev/full"), b"text")


def test_a_file_that_grows_too_large_leaves_the_old_one(tmp_path: Path) -> None:
    """A process of its own: a limit on files would hold for the whole test run."""
    (tmp_path / "a").write_bytes(b"old")
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from splitfed import files\nfrom splitfed.errors import UserError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    files.write_whole(Path(sys.argv[1]), bytes(5000))\n"
        "except UserError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True, timeout=60, check=True
    )
    assert f"cannot write {tmp_path / 'a'}: File too large; raise the limit" in done.stdout
    assert (tmp_path / "a").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_place_is_checked_before_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files.check_place(tmp_path / "new" / "deeper")
    for place in ("file", "file/deeper"):
        with pytest.raises(UserError, match=r"cannot write into .*file is no folder"):
            files.check_place(tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@needs_permissions
def test_a_place_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match="Permission denied; give this user access"):
            files.check_place(tmp_path / "new")
        with pytest.raises(UserError, match="Permission denied; give this user access"):
            files.write_whole(tmp_path / "a", b"")
    finally:
        tmp_path.chmod(0o700)


def test_only_faults_of_the_machine_are_explained() -> None:
    assert files.explain(OSError("a bug, perhaps")) is None
    assert files.explain(ConnectionRefusedError(111, "Connection refused")) is None
    with pytest.raises(FileNotFoundError) as missing:
        Path("/no/such/file").read_bytes()
    assert files.explain(missing.value) == "/no/such/file: No such file or directory; check the path"


@pytest.fixture
def open_umask() -> Iterator[None]:
    """The umask that most systems set."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


LONG_NAMES = st.text(st.characters(codec=None), min_size=1, max_size=12).map(lambda text: text * 40)


@given(st.lists(st.text() | LONG_NAMES, min_size=2, max_size=6, unique=True))
def test_any_name_gives_a_file_name_that_every_file_system_takes(names: list[str]) -> None:
    found = [files.file_name(name) for name in names]
    assert found == [files.file_name(name) for name in names]
    assert len(set(found)) == len(names)
    for name in found:
        assert 0 < len(name.encode()) <= files.LONGEST_NAME_BYTES
        assert name not in {".", ".."}
        assert "/" not in name
        assert name.isprintable()


def test_long_names_that_begin_alike_stay_apart() -> None:
    """As fifty accented letters and a seed do: each letter takes six bytes."""
    names = [f"{'é' * 50}-seed{seed}" for seed in range(3)]
    assert len({files.file_name(name) for name in names}) == 3
    assert files.file_name(names[0]).startswith("%C3%A9")


@pytest.mark.usefixtures("open_umask")
def test_a_new_file_has_the_permissions_that_the_user_gives_to_files(tmp_path: Path) -> None:
    files.write_whole(tmp_path / "open", b"")
    os.umask(0o027)
    files.write_whole(tmp_path / "closed", b"")
    assert (mode(tmp_path / "open"), mode(tmp_path / "closed")) == (0o644, 0o640)


@pytest.mark.usefixtures("open_umask")
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "a").touch(0o600)
    files.write_whole(tmp_path / "a", b"new")
    assert mode(tmp_path / "a") == 0o600


@pytest.mark.usefixtures("open_umask")
def test_what_is_made_for_a_folder_is_as_open_as_it(tmp_path: Path) -> None:
    private, shared = tmp_path / "private", tmp_path / "shared"
    files.make_private(private)
    shared.mkdir()
    files.make_private(shared)  # it is there: nothing changes
    for folder, of_folders, of_files in ((private, 0o700, 0o600), (shared, 0o755, 0o644)):
        with files.as_open_as(folder):
            (folder / "deeper").mkdir()
            files.write_whole(folder / "a", b"")
        assert (mode(folder), mode(folder / "deeper"), mode(folder / "a")) == (of_folders, of_folders, of_files)
    (tmp_path / "after").touch()
    assert mode(tmp_path / "after") == 0o644


def test_a_name_of_many_bytes_is_written_too(tmp_path: Path) -> None:
    target = tmp_path / ("🩻" * 63)
    files.write_whole(target, b"whole")
    assert target.read_bytes() == b"whole"


def test_the_file_and_its_name_are_on_the_disk_before_it_counts_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), (tmp_path / "a").exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    files.write_whole(tmp_path / "a", b"text")
    assert synced == [(False, False), (True, True)]
    synced.clear()
    (tmp_path / "draft").mkdir()
    (tmp_path / "draft" / "part").touch()
    files.publish_folder(tmp_path / "draft", tmp_path / "whole")
    assert [is_folder for is_folder, _ in synced] == [False, True, True]
    assert (tmp_path / "whole" / "part").is_file()


def test_an_error_within_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def fail() -> None:
        with files.replacing(tmp_path / "a") as file:
            file.write(b"half of the new o")
            raise RuntimeError("no picture")

    with pytest.raises(RuntimeError, match="no picture"):
        fail()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_writer_that_is_killed_leaves_the_old_file_and_a_draft_that_can_be_cleared(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom splitfed import files\n"
        "with files.replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(bytes(5000)); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    files.remove_drafts(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_the_size_of_a_folder_is_that_of_all_files_below(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "one").write_bytes(bytes(100))
    (tmp_path / "a" / "b" / "two").write_bytes(bytes(20))
    (tmp_path / "a" / "gone").symlink_to("/nowhere")
    assert 120 <= files.size_bytes(tmp_path) <= 120 + len("/nowhere")
    assert files.size_bytes(tmp_path / "nowhere") == 0


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a home; returns where temporary files go."""

    def nobody(number: int) -> None:
        raise KeyError(number)

    for name in ("HOME", "SPLITFED_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_the_cache_lies_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLITFED_CACHE", "/somewhere")
    assert cache_dir() == Path("/somewhere")
    monkeypatch.setenv("SPLITFED_CACHE", "~/mine")
    monkeypatch.setenv("HOME", "/home/of/mine")
    assert cache_dir() == Path("/home/of/mine/mine")


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms keep caches elsewhere")
def test_the_cache_lies_where_the_platform_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPLITFED_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/of/mine")
    assert cache_dir() == Path("/home/of/mine/.cache/splitfed")
    monkeypatch.setenv("XDG_CACHE_HOME", "/large/disk")
    assert cache_dir() == Path("/large/disk/splitfed")


def test_an_older_platformdirs_that_leaves_the_home_open_is_not_taken_at_its_word(
    no_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: Path("~/.cache/splitfed"))
    assert cache_dir() == no_home / f"splitfed-{os.getuid()}"


def test_without_a_home_the_cache_is_a_private_folder_and_the_same_one_again(no_home: Path) -> None:
    folder = cache_dir()
    assert folder == no_home / f"splitfed-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache_dir() == folder


def loosen(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def link(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize("prepare", [loosen, link, Path.touch])
def test_a_folder_that_others_could_have_laid_out_is_refused(prepare: Callable[[Path], None], no_home: Path) -> None:
    prepare(no_home / f"splitfed-{os.getuid()}")
    with pytest.raises(UserError, match="SPLITFED_CACHE"):
        cache_dir()


def test_a_cache_named_by_the_home_that_there_is_not_is_refused(
    no_home: Path,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPLITFED_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(UserError, match=r"SPLITFED_CACHE=~nobody-of-this-name/cache: .*give a full path"):
        cache_dir()
