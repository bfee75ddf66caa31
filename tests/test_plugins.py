"""What a plug-in is refused for: by name, and with what to do."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch
from torch import Tensor

from splitfed import attacks, defenses, plugins
from splitfed.attacks import Attack
from splitfed.attacks.ridge import Ridge
from splitfed.defenses import Defense, check_protected
from splitfed.defenses.none import NoDefense
from splitfed.errors import AttackError, SplitfedError, UserError
from splitfed.types import ImageShape


class Good(Ridge):
    name = "good"


class Nameless(Attack):
    about = "a text"
    adaptivity = "a text"


class Silent(Good):
    about = ""
    adaptivity = " "


class Other(Good):
    name = "other"


class Half(Attack):
    name = "half"
    about = adaptivity = "a text"


class Sourceless(NoDefense):
    name = "sourceless"
    source = ""


def load(monkeypatch: pytest.MonkeyPatch, name: str, kind: str) -> dict[str, Any]:
    point = EntryPoint(name, f"{__name__}:{kind}", "splitfed.attacks")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])  # noqa: ARG005
    base: Any = Defense if kind == "Sourceless" else Attack
    third = "source" if kind == "Sourceless" else "adaptivity"
    return plugins.registry("splitfed.attacks", base, (Ridge,), declares=("name", "about", third))


def test_a_sound_plugin_joins_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, "good", "Good") == {"ridge": Ridge, "good": Good}


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("nameless", "Nameless", "lacks name"),
        ("silent", "Silent", "lacks about, adaptivity; set each to one line of text"),
        ("sourceless", "Sourceless", "lacks source"),
        ("half", "Half", "lacks the methods advance, begin, evidence, reconstruct"),
        ("good", "Other", r"Other.name is 'other'; make it 'good'"),
        ("ridge", "Good", "'ridge' is taken already"),
        ("gone", "Gone", "cannot be loaded .AttributeError"),
        ("shape", "ImageShape", "is not a class of splitfed.attacks.base.Attack"),
    ],
)
def test_a_plugin_that_lacks_something_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, kind: str, message: str
) -> None:
    with pytest.raises(UserError, match=f"plug-in {name} of splitfed.attacks .*{message}"):
        load(monkeypatch, name, kind)


def test_every_component_of_the_package_declares_what_a_plugin_must() -> None:
    assert all(kind.name and kind.about and kind.adaptivity for kind in attacks.ATTACKS.values())
    assert all(kind.name and kind.about and kind.source for kind in defenses.DEFENSES.values())


class Returns(Good):
    """An attack that makes of everything what it was given."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def reconstruct(self, activation: Tensor) -> Tensor:  # noqa: ARG002
        return self.images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 1, 4, 4), r"gave \(3, 1, 4, 4\) for 2 activations; expected \(2, 1, 4, 4\)"),
        (torch.zeros(2, 16), r"gave \(2, 16\)"),
        (torch.full((2, 1, 4, 4), torch.nan), "NaN"),
        (torch.full((2, 1, 4, 4), 1.01), r"\[1.01, 1.01\]; images are in \[0, 1\]: clamp them"),
        (torch.full((2, 1, 4, 4), -0.5), "clamp them"),
    ],
)
def test_reconstructions_that_are_none_are_refused_by_the_attacks_name(images: Tensor, message: str) -> None:
    with pytest.raises(AttackError, match=f"attack good: .*{message}"):
        attacks.reconstruct(Returns(images), torch.zeros(2, 5), ImageShape(1, 4, 4))


def test_sound_reconstructions_pass_unchanged() -> None:
    images = torch.rand(2, 1, 4, 4)
    assert attacks.reconstruct(Returns(images), torch.zeros(2, 5), ImageShape(1, 4, 4)) is images


@pytest.mark.parametrize(
    ("output", "protected", "message"),
    [
        (torch.ones(2, 5), torch.ones(2, 4), r"gave \(2, 4\) .*expected \(2, 5\)"),
        (torch.ones(2, 5), torch.ones(1, 5), r"gave \(1, 5\)"),
        (torch.ones(2, 5), torch.full((2, 5), torch.inf), "keep the mechanism finite"),
        (torch.full((2, 5), torch.nan), torch.full((2, 5), torch.nan), "has diverged: lower federation.learning_rate"),
    ],
)
def test_a_defense_that_sends_anything_else_is_refused(output: Tensor, protected: Tensor, message: str) -> None:
    with pytest.raises(SplitfedError, match=f"defense none: protect.*{message}"):
        check_protected(defenses.build("none", {}), output, protected, 5, client=2)


def test_what_a_defense_announced_may_leave() -> None:
    check_protected(defenses.build("none", {}), torch.ones(2, 5), torch.zeros(2, 5), 5, client=2)
