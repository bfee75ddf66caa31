"""The files that a public project has agree with each other and with the project."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import yaml  # type: ignore[import-untyped]

import splitfed
from tests.docs.blocks import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_version_and_the_license_are_the_same_everywhere() -> None:
    cited = _yaml("CITATION.cff")
    assert cited["version"] == splitfed.__version__
    assert cited["license"] == PROJECT["license"]


def test_the_citation_has_what_its_schema_requires() -> None:
    cited = _yaml("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert all("name" in author or "family-names" in author for author in cited["authors"])


def test_the_project_is_at_one_address() -> None:
    home = PROJECT["urls"]["Homepage"]
    assert all(PROJECT["urls"][name].startswith(home) for name in ("Source", "Issues", "Changelog"))
    assert _yaml("CITATION.cff")["repository-code"] == home
    assert _yaml("mkdocs.yml")["repo_url"] == home
    assert _yaml("mkdocs.yml")["site_url"] == PROJECT["urls"]["Documentation"]


def test_public_hosts_run_the_commands_of_the_readme() -> None:
    jobs = _yaml(".github/workflows/ci.yml")["jobs"].values()
    run = {step["run"] for job in jobs for step in job["steps"] if "run" in step}
    assert run == {"make lint", "make test"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE) for command in run)


def test_what_lint_and_the_site_need_is_in_the_extra_dev() -> None:
    extras = PROJECT["optional-dependencies"]
    assert set(extras["docs"]) <= set(extras["dev"])


def test_changes_that_are_not_released_have_a_place() -> None:
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
