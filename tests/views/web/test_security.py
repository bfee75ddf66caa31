"""Who may ask, and for what: other sites, other names, other files and other machines may not."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from splitfed.records.sheets import save_sheet
from splitfed.records.store import RunStore
from splitfed.views.web.app import static_files
from splitfed.views.web.port import is_loopback, new_token
from tests.views.fabricated import images
from tests.views.web.pages import Page, new_run, notices, serving

NAVIGATION = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """A run with pictures, and what looks like some and may not be shown."""
    folder = tmp_path_factory.mktemp("world")
    run = new_run(folder / "runs", *notices(1))
    cell = run.path / "wall" / "none"
    cell.mkdir(parents=True)
    save_sheet(cell / "ridge-0.png", images(3))
    save_sheet(run.images_dir / "none-ridge.png", images(3))
    outside = run.path.parent / "secret.png"
    outside.write_bytes((cell / "ridge-0.png").read_bytes())
    (cell / "link.png").symlink_to(outside)
    (run.path / "wall" / "linked").symlink_to(run.path.parent)
    (cell / "folder.png").mkdir()
    os.mkfifo(cell / "pipe.png")
    for name in ("images/notes.txt", "cells/none/ridge.png"):
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / name).write_bytes(b"secret")
    (run.path.parent / "linked").symlink_to(new_run(folder / "other").path)
    return run


@pytest.fixture(scope="module")
def page(run: RunStore) -> Iterator[Page]:
    with serving(run.path.parent) as served:
        yield served


def everything(run: RunStore) -> list[str]:
    """An address of each kind."""
    of_run = f"/api/runs/{run.path.name}"
    return [
        *("/", f"/run/{run.path.name}", "/api/runs", f"{of_run}/events", f"{of_run}/wall", f"{of_run}/results"),
        *(f"{of_run}/figures", f"{of_run}/final?cell=none&attack=ridge"),
        *(f"{of_run}/victim/0", f"/runs/{run.path.name}/files/wall/none/ridge-0.png", "/static/nothing.js"),
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:8700"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost@evil.example"},
        {"host": "10.0.0.1:8700"},
        {"host": ""},
        {"host": "localhost:port"},
        {"host": "localhost/evil"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"},
    ],
)
def test_who_comes_from_elsewhere_is_turned_away(run: RunStore, page: Page, headers: dict[str, str]) -> None:
    for path in everything(run):
        answer = page.get(path, **headers)
        assert answer.status == 403, path
        assert answer.error
        assert b"ridge" not in answer.body


@pytest.mark.parametrize("host", ["localhost", "localhost:9", "127.0.0.1:9", "[::1]:9", "LOCALHOST:9", "127.1.2.3"])
def test_this_machine_may_ask_by_any_of_its_own_names(page: Page, host: str) -> None:
    """Also through a tunnel, which has another port at its other end."""
    assert page.get("/api/runs", host=host).status == 200
    assert page.get("/api/runs", host=host, origin=f"http://{host}", sec_fetch_site="same-origin").status == 200


def test_a_link_elsewhere_may_lead_to_a_page(page: Page) -> None:
    assert page.get("/", sec_fetch_site="cross-site", **NAVIGATION).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_nothing_can_be_changed(page: Page, method: str) -> None:
    answer = page.get("/api/runs", method=method)
    assert answer.status == 405
    assert answer.error == "this server only shows: ask with GET"


def test_every_answer_says_what_a_browser_may_do_with_it(run: RunStore, page: Page) -> None:
    for path in [*everything(run), "/nowhere", *(f"/static/{name}" for name in static_files())]:
        opened = page.stream(path)
        headers = opened.answer.headers
        opened.close()
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "http:" not in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] in ("no-store", "no-cache")
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "manifest.json",
        "events.jsonl",
        "wall/victims.json",
        "wall",
        "wall/",
        "images/../manifest.json",
        "wall/none/../../manifest.json",
        "wall/none/../../../secret.png",
        "wall/none/%2e%2e/%2e%2e/%2e%2e/secret.png",
        "wall/none/..%2f..%2f..%2fsecret.png",
        "wall//none/ridge-0.png",
        "/etc/passwd",
        "wall/none/link.png",
        "wall/linked/secret.png",
        "wall/none/pipe.png",
        "wall/none/folder.png",
        "wall/none/a%00.png",
        "wall/none/deep/er/ridge-0.png",
        "images/notes.txt",
        "cells/none/ridge.png",
    ],
)
def test_only_pictures_of_the_run_are_shown(run: RunStore, page: Page, path: str) -> None:
    answer = page.get(f"/runs/{run.path.name}/files/{path}")
    assert answer.status == 404
    assert "only PNG files in wall/ and images/" in answer.error or "nothing at" in answer.error


def test_pictures_of_the_run_are_shown(run: RunStore, page: Page) -> None:
    for path in ("wall/none/ridge-0.png", "images/none-ridge.png"):
        answer = page.get(f"/runs/{run.path.name}/files/{path}")
        assert answer.status == 200
        assert answer.headers["content-type"] == "image/png"
        assert answer.body == (run.path / path).read_bytes()


@pytest.mark.parametrize("name", ["../page.html.j2", "..%2fapp.py", "%2e%2e/app.py", "app.py", "", "charts/../x.js"])
def test_only_files_of_the_page_are_served(page: Page, name: str) -> None:
    assert page.get(f"/static/{name}").status == 404


@pytest.mark.parametrize("run_id", ["..", ".", "%2e%2e", "..%2f..", "linked", "nothing", "a%00", "runs", "%2Fetc"])
def test_only_runs_of_the_directory_are_shown(run: RunStore, page: Page, run_id: str) -> None:
    for path in (f"/run/{run_id}", f"/api/runs/{run_id}/events", f"/api/runs/{run_id}/wall"):
        answer = page.get(path)
        assert answer.status == 404
        assert answer.error
    assert [listed["id"] for listed in page.get("/api/runs").json] == [run.path.name]


# elsewhere than on a loopback address


@pytest.fixture(scope="module")
def far(run: RunStore) -> Iterator[Page]:
    with serving(run.path.parent, host="0.0.0.0", token="right") as served:
        yield served


def test_another_machine_needs_the_token(run: RunStore, far: Page) -> None:
    for path in everything(run):
        for query in ("", "?token=wrong", "?token=", "?token=righ%C3%A9", "?token=%FF", "?token=right&token=wrong"):
            answer = far.get(path + query, host="far.example:8700")
            assert answer.status == 401
            assert "the token in the address" in answer.error


def test_the_token_becomes_a_cookie_of_this_server_alone(far: Page) -> None:
    answer = far.get("/run/a?x=1&token=right", host="far.example")
    assert answer.status == 303
    assert answer.headers["location"] == "/run/a?x=1"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"splitfed-{far.port}=right;")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert far.get("/api/runs", host="far.example", cookie=cookie.split(";")[0]).status == 200
    assert far.get("/api/runs", host="far.example", cookie=f"splitfed-{far.port}=wrong").status == 401
    assert far.get("/api/runs", host="far.example", cookie=f"splitfed-{far.port + 1}=right").status == 401


def test_a_token_does_not_excuse_a_foreign_page(far: Page) -> None:
    cookie = f"splitfed-{far.port}=right"
    assert far.get("/api/runs", host="far.example", cookie=cookie, origin="http://evil.example").status == 403
    assert far.get("/api/runs", host="far.example", cookie=cookie, sec_fetch_site="cross-site").status == 403


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("a.b", False)],
)
def test_only_a_loopback_address_goes_without_a_token(host: str, alone: bool) -> None:
    assert is_loopback(host) == alone
    assert (new_token(host) is None) == alone
    assert new_token(host) is None or len(str(new_token(host))) >= 32
