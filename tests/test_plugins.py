"""What a plug-in is refused for, by name and with what to do, and that a broken one costs only itself."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from splitfed import attacks, data, defenses, plugins
from splitfed.attacks import Attack, FitEvidence, Progress
from splitfed.attacks.ridge import Ridge
from splitfed.cli import checkup
from splitfed.config.load import validate
from splitfed.defenses import Defense, check_protected
from splitfed.defenses.none import NoDefense
from splitfed.errors import AttackError, DataError, PluginError, ScenarioError, SplitfedError
from splitfed.metrics.findings import Finding
from splitfed.plugins import Registry
from splitfed.types import ImageShape, Phase
from tests.installed import install, splitfed
from tests.small_scenario import small

ATTACKS = """
from splitfed.attacks import Attack
from splitfed.attacks.ridge import Ridge
from splitfed.types import ImageShape

class Good(Ridge):
    name = "good"

class Nameless(Attack):
    about = adaptivity = "a text"

class Silent(Good):
    about = ""
    adaptivity = " "

class Other(Good):
    name = "other"

class Half(Attack):
    name = "half"
    about = adaptivity = "a text"

class Odd(Good):
    name = "odd"
    Options = dict
"""
fresh = (f"plugin_{number}" for number in itertools.count())
"""A module name for each test: what Python has imported once it would not look for again."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which packages can be installed for this test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def attacks_with(place: Path, source: str, **points: str) -> Registry[type[Attack]]:
    """The registry of attacks where these are installed."""
    if points:
        install(place, next(fresh), source, {"attacks": points})
    base: Any = Attack
    return plugins.registry("attack", "splitfed.attacks", base, (Ridge,), declares=("name", "about", "adaptivity"))


DEFENSE = """\
import numpy as np, torch
from splitfed.defenses.base import Defense
class Mine(Defense):
    name, about, source = 'mine', 'a text', 'a text'
    def findings(self, evidence): return []
"""


def defense_of(place: Path, body: str) -> Defense:
    """A defense whose class has this body, from a package of its own."""
    source = DEFENSE + "".join(f"    {line}\n" for line in body.splitlines())
    install(place, next(fresh), source, {"defenses": {"mine": "Mine"}})
    base: Any = Defense
    registry = plugins.registry(
        "defense", "splitfed.defenses", base, (NoDefense,), declares=("name", "about", "source"), faults=defenses.FAULTS
    )
    assert registry.broken == []
    made: Defense = registry["mine"](registry["mine"].Options())
    return made


def test_a_sound_plugin_joins_the_registry(place: Path) -> None:
    registry = attacks_with(place, ATTACKS, good="Good")
    assert list(registry) == ["ridge", "good"]
    assert registry.broken == []


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("nameless", "Nameless", "lacks name"),
        ("silent", "Silent", "lacks about, adaptivity; set each to one line of text"),
        ("half", "Half", "lacks the methods advance, begin, evidence, reconstruct"),
        ("good", "Other", "Other.name is 'other'; make it 'good'"),
        ("odd", "Odd", "Odd.Options is <class 'dict'>; derive a class from splitfed.options.Options"),
        ("ridge", "Good", "'ridge' is taken already"),
        ("gone", "Gone", "cannot be loaded (AttributeError"),
        ("shape", "ImageShape", "is not a class of splitfed.attacks.base.Attack"),
    ],
)
def test_a_plugin_that_lacks_something_stands_apart_by_name(place: Path, name: str, kind: str, message: str) -> None:
    registry = attacks_with(place, ATTACKS, **{name: kind})
    assert dict(registry) == {"ridge": Ridge}
    (broken,) = registry.broken
    assert broken.name == name
    assert broken.why.startswith(f"plug-in {name} of splitfed.attacks (plugin_")
    assert message in broken.why
    assert registry.describe(lambda attack: attack.about)[-1] == (name, f"BROKEN {broken.why}")


@pytest.mark.parametrize(
    ("old", "new"), [("randomised = True", "randomized"), ("def penalty(self, batch): return None", "regularizer")]
)
def test_what_is_called_as_in_an_earlier_version_is_refused(place: Path, old: str, new: str) -> None:
    """Nothing would ask for it: the defense would train as if there were none."""
    install(place, next(fresh), f"{DEFENSE}    {old}\n", {"defenses": {"mine": "Mine"}})
    base: Any = Defense
    registry = plugins.registry("defense", "splitfed.defenses", base, (NoDefense,), declares=("name",))
    (broken,) = registry.broken
    assert f"which nothing reads since splitfed 0.2; call it {new}" in broken.why


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit('run me with a GPU')", "SystemExit: run me with a GPU"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_plugin_that_cannot_be_imported_costs_only_itself(place: Path, source: str, says: str) -> None:
    attacks_with(place, ATTACKS, good="Good")
    registry = attacks_with(place, source, bad="Bad")
    assert list(registry) == ["ridge", "good"]
    (broken,) = registry.broken
    assert says in broken.why
    assert "install it anew with what it needs, or uninstall plugin_" in broken.why
    assert registry.why_not("bad") == broken.why
    assert registry.why_not("bade").startswith("unknown attack 'bade'")


def test_two_packages_that_add_one_name_are_both_refused(place: Path) -> None:
    attacks_with(place, ATTACKS, good="Good")
    registry = attacks_with(place, ATTACKS, good="Good")
    assert list(registry) == ["ridge"]
    assert [broken.name for broken in registry.broken] == ["good", "good"]
    assert "2 packages add this name; uninstall all but one" in registry.why_not("good")


def test_every_component_of_the_package_declares_what_a_plugin_must() -> None:
    assert all(kind.name and kind.about and kind.adaptivity for kind in attacks.ATTACKS.values())
    assert all(kind.name and kind.about and kind.source for kind in defenses.DEFENSES.values())


class Returns(Ridge):
    """An attack that makes of everything what it was given."""

    name = "good"

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def reconstruct(self, activation: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG002
        """As a plug-in has it that knows nothing of labels."""
        return self.images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 1, 4, 4), r"gave \(3, 1, 4, 4\) for 2 activations; expected \(2, 1, 4, 4\)"),
        (torch.zeros(2, 16), r"gave \(2, 16\)"),
        (torch.full((2, 1, 4, 4), torch.nan), "NaN"),
        (torch.full((2, 1, 4, 4), 1.01), r"\[1.01, 1.01\]; images are in \[0, 1\]: clamp them"),
        (torch.full((2, 1, 4, 4), -0.5), "clamp them"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), "gave torch.uint8; images are float32"),
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


BAD_METHODS = [
    ("def protect(self, output, generator, phase): return output.wrong", "protect() raised AttributeError: .*, line 6"),
    ("def protect(self, output, generator, phase): return output.numpy()", "protect.. gave ndarray; expected Tensor"),
    ("def figures(self, evidence): raise ValueError('boom')", r"figures.. raised ValueError: boom .*, line 6"),
    ("def figures(self, evidence): return {'loss': torch.ones(1)}", "figures.. gave 'loss': Tensor; .*convert it with"),
    ("def findings(self, evidence): return [(True, 'it did')]", r"findings.. gave \(True, 'it did'\) in its list"),
    ("def findings(self, evidence): return None", "findings.. gave NoneType; expected a list of Finding"),
    ("def regularizer(self, batch): return torch.ones(3)", r"regularizer.. gave \(3,\); expected one number"),
    ("def released(self, width): return width / 2", "released.. gave float; expected int"),
    ("def __init__(self, options): raise KeyError('gpu')", "__init__.. raised KeyError: 'gpu'"),
]
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "protect": (torch.ones(2, 5), torch.Generator(), Phase.TRAIN),
    "figures": (None,),
    "findings": (None,),
    "regularizer": (None,),
    "released": (5,),
}


@pytest.mark.parametrize(("body", "message"), BAD_METHODS)
def test_what_fails_in_a_defense_of_a_plugin_names_it(place: Path, body: str, message: str) -> None:
    method = body.split("(")[0].removeprefix("def ")
    with pytest.raises(
        PluginError, match=rf"^defense mine \(plugin_\d+:Mine\): {message.replace('()', '..')}"
    ) as failed:
        getattr(defense_of(place, body), method)(*ARGUMENTS[method])
    if "raised" in message:
        assert failed.value.__cause__ is not None


def test_a_sound_defense_of_a_plugin_is_left_as_it_is(place: Path) -> None:
    defense = defense_of(
        place, "def figures(self, evidence): return {'epsilon': 1}\ndef released(self, width): return 3"
    )
    evidence: Any = None
    assert defense.figures(evidence) == {"epsilon": 1}
    assert defense.released(5) == 3
    assert defense.prepare_rounds() == 0
    assert type(defense).released.__name__ == "released"


def test_messages_of_our_own_pass_through_a_plugin_unchanged(place: Path) -> None:
    body = (
        "def released(self, width):\n    from splitfed.errors import UserError\n    raise UserError('k is too large')"
    )
    with pytest.raises(SplitfedError, match=r"^k is too large$"):
        defense_of(place, body).released(5)


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("advance", "None", r"advance\(\) gave None; expected Progress"),
        ("evidence", "FitEvidence(torch.ones(1), 0.0, True, 1, 0.0, 0.0, True)", "gave 'first_loss': Tensor"),
        ("most_observations", "1.5", "gave float; expected int or None"),
        ("reconstruct", "activation.numpy()", "gave ndarray; expected Tensor"),
    ],
)
def test_what_an_attack_of_a_plugin_gives_is_checked(place: Path, method: str, given: str, message: str) -> None:
    argument = ", activation" if method == "reconstruct" else ""
    source = f"import torch\nfrom splitfed.attacks import FitEvidence\n{ATTACKS}\n    Options = Good.Options\n"
    source += f"\nclass Mine(Good):\n    name = 'mine'\n    def {method}(self{argument}): return {given}\n"
    install(place, next(fresh), source, {"attacks": {"mine": "Mine"}})
    base: Any = Attack
    registry = plugins.registry("attack", "splitfed.attacks", base, (Ridge,), declares=("name",), faults=attacks.FAULTS)
    attack = registry["mine"](Ridge.Options())
    with pytest.raises(PluginError, match=f"^attack mine .*{message}"):
        getattr(attack, method)(*([torch.zeros(1, 4)] if argument else []))


def test_sound_records_of_an_attack_pass() -> None:
    assert attacks.FAULTS["advance"](Progress(1, 0.5, 0.5, True, True)) is None
    assert attacks.FAULTS["evidence"](FitEvidence(0.5, 0.1, True, 1, 20.0, 0.5, True)) is None
    assert defenses.FAULTS["findings"]([Finding(True, "it acts")]) is None


STRIPES = """
import numpy as np
from splitfed.data import DatasetSource, Decoded, Unavailable

class Stripes(DatasetSource):
    name, summary, default_image_size = "stripes", "black and white", 8

    def read(self, request):
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (600, 1, request.image_size, request.image_size), np.uint8)
        return Decoded(pixels, np.arange(600) % 2, ("a", "b"), "")

STRIPES = Stripes()
"""


def stripes(place: Path, old: str = "", new: str = "", target: str = "STRIPES") -> None:
    """A data set plug-in, with one thing about it changed."""
    assert old in STRIPES
    install(place, next(fresh), STRIPES.replace(old, new) if old else STRIPES, {"datasets": {"stripes": target}})


def test_a_data_set_of_a_plugin_is_loaded_and_checked(place: Path) -> None:
    stripes(place)
    assert data.load("stripes", image_size=10).shape == (1, 10, 10)
    assert ("stripes", "black and white") in data.describe()
    assert data.fetch("stripes") is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pixels, np", "pixels[:, 0], np", r"read\(\) gave pixels uint8 \(600, 8, 8\); expected uint8 \(N, C, H, W\)"),
        (" % 2,", "[:, None] % 2,", r"read\(\) gave labels int64 \(600, 1\); expected integers"),
        ("return Decoded", "return tuple", r"read\(\) raised TypeError"),
        (
            "rng = ",
            "raise RuntimeError('the server is down')\n        rng = ",
            r"read\(\) raised RuntimeError: the server is",
        ),
    ],
)
def test_what_a_plugin_reads_wrong_is_said_with_its_name(place: Path, old: str, new: str, message: str) -> None:
    stripes(place, old, new)
    with pytest.raises(
        DataError, match=rf"^plug-in stripes of splitfed.datasets \(plugin_\d+:STRIPES\): {message}"
    ) as error:
        data.load("stripes")
    assert ("raised" in message) == (error.value.__cause__ is not None)


def test_a_plugin_that_has_no_images_leaves_them_to_the_fallback(place: Path) -> None:
    stripes(place, "rng = ", "raise Unavailable('none here')\n        rng = ")
    assert data.load("stripes", fallback="digits").name == "digits"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("STRIPES = Stripes()", "STRIPES = Stripes", "Stripes is a class; offer an instance of it"),
        ("STRIPES = Stripes()", "STRIPES = 3", "3 is not an instance of splitfed.data.source.DatasetSource"),
        ("STRIPES = Stripes()", "", "cannot be loaded (AttributeError"),
        ('"black and white"', '""', "Stripes lacks summary"),
        ('"stripes", "', '"strips", "', "Stripes.name is 'strips'; make it 'stripes'"),
        ('white", 8', 'white", 4', "Stripes.default_image_size is 4; set it to at least 8 pixels, or None"),
        ('white", 8', 'white", True', "Stripes.default_image_size is True"),
        ("    def read", "    synthetic = 'no'\n    def read", "Stripes.synthetic is 'no'; set it to True or False"),
    ],
)
def test_a_data_set_plugin_that_lacks_something_stands_apart(place: Path, old: str, new: str, message: str) -> None:
    stripes(place, old, new)
    known = data.sources()
    assert set(known) == set(data.DATASETS)
    assert message in known.why_not("stripes")
    with pytest.raises(DataError, match=r"^plug-in stripes of splitfed\.datasets"):
        data.load("stripes")
    assert data.load("digits").name == "digits"


def test_a_scenario_that_names_a_broken_plugin_gets_its_reason(place: Path) -> None:
    stripes(place, "import numpy", "import no_such_module, numpy")
    table = {"name": "s", "data": {"name": "digits"}, "defense": [{"name": "none"}], "attack": [{"name": "ridge"}]}
    validate(table, source="s.toml")
    with pytest.raises(ScenarioError, match=r"s.toml: data.name: plug-in stripes .*No module named 'no_such_module'"):
        validate({**table, "data": {"name": "stripes"}}, source="s.toml")
    with pytest.raises(ScenarioError, match=r"s.toml: data.fallback: plug-in stripes"):
        validate({**table, "data": {"name": "digits", "fallback": "stripes"}}, source="s.toml")


BROKEN = "import no_such_module"


@pytest.fixture(scope="module")
def broken_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a broken plug-in of each kind."""
    folder = tmp_path_factory.mktemp("broken")
    for group in checkup.PLUGIN_GROUPS:
        install(folder, f"torn_{group}", BROKEN, {group: {f"torn_{group}": "Torn"}})
    return folder


@pytest.mark.parametrize("group", checkup.PLUGIN_GROUPS)
def test_listings_show_a_broken_plugin_and_everything_else(broken_place: Path, group: str) -> None:
    listed = splitfed(broken_place, group)
    assert listed.returncode == 0, listed.stderr
    known = {"datasets": "digits", "defenses": "laplace", "attacks": "ridge", "generators": "mixture"}[group]
    assert f"\n{known} " in f"\n{listed.stdout}"
    assert f"\ntorn_{group} BROKEN plug-in torn_{group} of splitfed.{group}" in re.sub(" +", " ", listed.stdout)
    assert "No module named 'no_such_module'" in listed.stdout


def test_doctor_names_broken_plugins_and_says_that_not_all_is_well(broken_place: Path) -> None:
    seen = splitfed(broken_place, "doctor")
    assert seen.returncode == 3, seen.stderr
    text = " ".join(seen.stdout.split())
    assert all(f"plug-in torn_{group}" in text for group in checkup.PLUGIN_GROUPS)


def test_a_scenario_runs_beside_broken_plugins_and_refuses_them_by_name(broken_place: Path) -> None:
    scenario = small(broken_place, rounds=1, margin_db=0.0)
    ran = splitfed(broken_place, "scenario", scenario, "--live", "none")
    assert ran.returncode in (0, 3), ran.stderr
    for key, name in (("defense", "torn_defenses"), ("attack", "torn_attacks"), ("data.name", "torn_datasets")):
        value = f'["{name}"]' if key != "data.name" else name
        refused = splitfed(broken_place, "scenario", scenario, "--set", f"{key}={value}")
        assert refused.returncode == 2
        assert f"plug-in {name} of splitfed." in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_an_attack_that_raises_costs_its_cell_and_is_named(tmp_path: Path) -> None:
    source = f"{ATTACKS}\n    Options = Good.Options\n"
    source += "\nclass Bad(Good):\n    name = 'bad'\n    def advance(self): raise ValueError('no such layer')\n"
    install(tmp_path, "bad_attack", source, {"attacks": {"bad": "Bad"}})
    ran = splitfed(tmp_path, "scenario", small(tmp_path, rounds=1), "--set", 'attack=["bad"]', "--out", "runs")
    assert ran.returncode == 3, ran.stderr
    assert "attack bad (bad_attack:Bad): advance() raised ValueError: no such layer" in ran.stderr
    (stored,) = (tmp_path / "runs").glob("*/results.json")
    assert not json.loads(stored.read_text(encoding="utf-8"))["valid"]
