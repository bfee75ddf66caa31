"""Paths as people write them, and files that are written whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from splitfed import files
from splitfed.errors import UserError

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
