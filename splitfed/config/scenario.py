"""A scenario: TOML, validated once at the edge into frozen objects.

`load` takes the name of a shipped scenario or a path, applies `--set` overrides, and returns a `Scenario` or raises
a `ScenarioError` that names file, key, what was found and what is allowed. Components own their options: a
``[[defense]]`` or ``[[attack]]`` table is validated by the defense or attack that it names.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from splitfed.data.source import Selection
from splitfed.errors import DataError, ScenarioError, unknown
from splitfed.files import as_path
from splitfed.options import Options, explain
from splitfed.plugins import Registry


class DataOptions(Options):
    """Which images, how many, and how they are spread over the clients."""

    name: str
    fallback: str | None = None
    """Data set to use, under a loud banner, when `name` cannot be found or downloaded."""
    path: str | None = None
    """Where the images lie, for ``name = "folder"``."""
    attribute: str | None = None
    """What ``name = "celeba"`` is told apart by, such as "Smiling"; hair color in five classes by default."""
    class_level: int | None = Field(default=None, ge=1)
    """For ``name = "folder"``: the folder level whose names are the classes, 1 the outermost; found by default."""
    group_level: int | None = Field(default=None, ge=1)
    """For ``name = "folder"``: the folder level of patients or other groups, which the split then keeps apart."""
    include: tuple[str, ...] = ()
    """For ``name = "folder"``: patterns of the places to read, such as "COVID/*"; all by default."""
    exclude: tuple[str, ...] = ()
    """For ``name = "folder"``: patterns of the places to leave out, such as "*/masks/*"."""
    window: tuple[float, float] | None = None
    """Center and width for pixels of more than 8 bits; a file's own, or its range, by default."""
    size: int | None = Field(default=None, ge=8, le=512)
    """Edge of the square images, pixels; the data set's own by default."""
    split: Literal["content", "folders"] = "content"
    """Training, auxiliary and test images from all images by content; or the clients' from the folder (or array) named
    train, and the attacker's and the held-out ones from the others."""
    train: int = Field(default=6000, ge=1)
    """Victims' images, over all clients."""
    aux: int = Field(default=6000, ge=20)
    """The attacker's own images; none of them is a victim's."""
    test: int = Field(default=3000, ge=1)
    """Held-out images for the accuracy."""
    partition: Literal["iid", "dirichlet", "by_class"] = "iid"
    alpha: float = Field(default=0.5, gt=0)
    """Concentration of the Dirichlet partition; small values give clients different classes."""

    @model_validator(mode="after")
    def _window_is_wide(self) -> DataOptions:
        if self.window is not None and not self.window[1] > 0:
            raise ValueError(f"window = [center, width]: the width is {self.window[1]:g}; expected more than 0")
        return self

    @property
    def selection(self) -> Selection:
        """Which files are read, and what their folders mean."""
        return Selection(self.include, self.exclude, self.class_level, self.group_level, self.window)


class ModelOptions(Options):
    """The network, the same for every defense but for its front."""

    width: int = Field(default=500, ge=1)
    """Of the linear layers: d in DESIGN, section 4; also the numbers that leave the client per image, unless the
    defense says otherwise."""
    hidden_layers: int = Field(default=1, ge=0, le=8)
    """Linear layers between the first and the last. In the split threat the server holds them, in the end-to-end
    threat the client: there the last hidden layer is what leaves."""


class FederationOptions(Options):
    """Who trains, how long, with which optimizer. One setting for all defenses of a scenario."""

    clients: int = Field(default=3, ge=1, le=256)
    rounds: int = Field(default=6, ge=1)
    local_epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=64, ge=2)
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = Field(default=0.05, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD; the state starts anew each round, as the averaged weights do."""
    strategy: Literal["FedAvg", "FedMedian", "FedTrimmedAvg"] = "FedAvg"
    """A Flower strategy by its own name; it averages the fronts."""
    codec: str = "float32"
    round_deadline_s: float = Field(default=1800, gt=0)
    """A client that has not answered by then misses the round."""
    stream_deadline_s: float = Field(default=60, gt=0)
    """A step that has had no answer by then fails its client."""
    missed_rounds_allowed: int = Field(default=0, ge=0)
    """Gate: how often clients, all together, may miss the preparation, a round or the audit."""


class AttackerOptions(Options):
    """The attacker's process and what it may do while training runs."""

    margin_db: float = Field(default=3.0, ge=0)
    """Gate: on the undefended cell the strongest attack beats the class mean by this much PSNR."""
    coverage: float = Field(default=1.0, gt=0, le=1)
    """Gate: the share of the images sent under the final front that the tap has seen."""
    live_aux: int = Field(default=1000, ge=20)
    """Auxiliary images that it trains on between rounds; all of them count after the last round."""
    live_images: int = Field(default=96, ge=8)
    """Observations that it reconstructs for the live view."""
    keep_rounds: int = Field(default=1, ge=0)
    """Of how many of the newest rounds TRAIN and TEST observations and fronts stay on disk until the cell is finished;
    0 keeps those of all rounds, for good."""
    threads: int = Field(default=2, ge=1)
    """For learning after the last round; a fixed number, whatever the cores and the cells at a time: another one sums
    in another order, so that results differ in their last digits."""
    deadline_s: float = Field(default=1800, gt=0)
    """How long the lab waits for the attack after the last round."""


class Component(BaseModel):
    """A defense or an attack by name, with options that its own class validates."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    label: str | None = None
    """What the cell is called; the name by default, made distinct where it occurs twice."""

    @property
    def options(self) -> dict[str, Any]:
        """The component's own options as written."""
        return dict(self.model_extra or {})

    @property
    def title(self) -> str:
        """The label; without one the name, and of a stack the names of its layers: "sca+laplace"."""
        return self.label or "+".join(layer["name"] for layer in self.layers) or self.name

    @property
    def layers(self) -> Sequence[Mapping[str, Any]]:
        """The tables of a stack's layers; empty for any other component."""
        return self.options["layers"] if self.name == "stack" else ()


class Scenario(Options):
    """One experiment: data, network, federation, and the defenses and attacks to compare."""

    name: str
    about: str = ""
    threat: Literal["split", "end_to_end"] = "split"
    """What the attacker sees: the output of the first linear layer, or of the last hidden one."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    seeds: int = Field(default=1, ge=1, le=100)
    """Repeats: seed, seed + 1, ..."""
    data: DataOptions
    model: ModelOptions = ModelOptions()
    federation: FederationOptions = FederationOptions()
    attacker: AttackerOptions = AttackerOptions()
    metrics: tuple[Literal["fid_lite0", "fid"], ...] = ()
    """Scores beside the usual ones, for the strongest attack of each cell; they need the extra ``fid`` and time."""
    defense: tuple[Component, ...] = Field(min_length=1)
    attack: tuple[Component, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _enough_images(self) -> Scenario:
        clients, batch_size, train = self.federation.clients, self.federation.batch_size, self.data.train
        if train // clients < batch_size:
            raise ValueError(
                f"data.train ({train}) / federation.clients ({clients}) = {train // clients} images per client, "
                f"fewer than federation.batch_size ({batch_size})"
            )
        if self.data.test < clients:
            raise ValueError(f"data.test ({self.data.test}) must be at least federation.clients ({clients})")
        return self

    @property
    def client_layers(self) -> int:
        """Hidden layers on the client's side of the cut."""
        return self.model.hidden_layers if self.threat == "end_to_end" else 0

    @property
    def server_layers(self) -> int:
        """Hidden layers on the server's side of the cut."""
        return self.model.hidden_layers - self.client_layers

    def cells(self) -> tuple[Cell, ...]:
        """The cells in the order in which they run: every defense under the first seed, then the next."""
        labels = _labels(self.defense)
        return tuple(
            Cell(
                name=label if self.seeds == 1 else f"{label}-seed{self.seed + repeat}",
                defense=defense,
                seed=self.seed + repeat,
            )
            for repeat in range(self.seeds)
            for defense, label in zip(self.defense, labels, strict=True)
        )


class Cell(Options):
    """One defense with its options, under one seed."""

    name: str
    defense: Component
    seed: int


def _labels(components: Sequence[Component]) -> list[str]:
    """A distinct name per component: its title, with its options where that occurs twice."""
    plain = [c.title for c in components]
    labels = [
        label if plain.count(label) == 1 else "-".join([label, *_options(component)])
        for label, component in zip(plain, components, strict=True)
    ]
    seen: dict[str, int] = {}
    for position, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] > 1:
            labels[position] = f"{label}-{seen[label]}"
    return labels


def _options(component: Component) -> list[str]:
    """Each option with its value; of a stack, those of its layers."""
    tables = component.layers or [component.options]
    return [f"{k}{v}" for table in tables for k, v in sorted(table.items()) if k != "name"]


def scenario_dirs() -> tuple[Path, ...]:
    """Where shipped scenarios lie: beside the package in a checkout, under the prefix when installed."""
    return (
        Path(__file__).resolve().parents[2] / "scenarios",
        Path(sys.prefix) / "share" / "splitfed" / "scenarios",
    )


def shipped() -> dict[str, Path]:
    """Name -> file of every shipped scenario."""
    files = (file for folder in reversed(scenario_dirs()) for file in sorted(folder.glob("*.toml")))
    return {file.stem: file for file in files}


def describe_shipped() -> list[tuple[str, str]]:
    """Name and one line of every shipped scenario."""
    described = []
    for name, path in sorted(shipped().items()):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        described.append((name, str(table.get("about", ""))))
    return described


def load(name: str | Path, *, overrides: Sequence[str] = (), quick: bool = False) -> Scenario:
    """The scenario of this name or file, with `key=value` overrides applied.

    Args:
        name: a shipped scenario's name, or the path of a TOML file.
        overrides: ``"data.train=3000"``, ``"defense.laplace.scale=1.0"``, ``'defense=["none", "sca"]'``. Values are
            TOML; what is not, is a string.
        quick: also apply the file's ``[quick]`` table, before the overrides.

    Raises:
        ScenarioError: no such scenario, not TOML, or a key or value that does not fit.
    """
    path = _find(name)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path.name} is not valid TOML: {error}") from error
    shortcuts = table.pop("quick", {})
    if quick:
        if not isinstance(shortcuts, dict) or not shortcuts:
            raise ScenarioError(f"{path.name} has no [quick] table; run it without --quick, or use --set")
        for key, value in shortcuts.items():
            _assign(table, key, value, source=f"{path.name} [quick]")
    for override in overrides:
        _override(table, override)
    return validate(table, source=path.name)


def _override(table: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ScenarioError(f"--set {override}: expected key=value, for example --set data.train=3000")
    _assign(table, key.strip(), _toml_value(text.strip()), source=f"--set {override}")


def data_options(name: str, overrides: Sequence[str]) -> DataOptions:
    """The ``data`` table of a scenario by itself, with ``data.key=value`` overrides.

    Raises:
        ScenarioError: a key of another table, or a value that does not fit.
    """
    table: dict[str, Any] = {"data": {"name": name}}
    for override in overrides:
        _override(table, override)
    if set(table) != {"data"}:
        other = next(key for key in table if key != "data")
        raise ScenarioError(f"--set {other}: expected a key of data, such as --set data.size=64")
    try:
        return DataOptions.model_validate(table["data"])
    except ValidationError as error:
        raise ScenarioError(explain(error, DataOptions, "--set data")) from None


def validate(table: Mapping[str, Any], *, source: str) -> Scenario:
    """The scenario that this table describes, its components' options checked by their own classes.

    Raises:
        ScenarioError: names `source`, the key, what was found and what is allowed.
    """
    try:
        scenario = Scenario.model_validate(table)
    except ValidationError as error:
        raise ScenarioError(explain(error, Scenario, source)) from None
    _check_components(scenario, source)
    return scenario


def _find(name: str | Path) -> Path:
    path = as_path(name)
    if path.suffix == ".toml":
        if path.is_file():
            return path
        raise ScenarioError(f"no such scenario file: {path}. Shipped scenarios: {', '.join(sorted(shipped()))}")
    known = shipped()
    if str(name) not in known:
        raise ScenarioError(unknown("scenario", str(name), known) + ". Or give the path of a .toml file")
    return known[str(name)]


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _assign(table: dict[str, Any], key: str, value: Any, *, source: str) -> None:
    """Set a dotted key; ``defense.NAME.option`` reaches every entry of that name."""
    head, _, rest = key.partition(".")
    if head in ("defense", "attack"):
        _assign_component(table, head, rest, value, source)
        return
    *parents, last = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ScenarioError(f"{source}: {parent} is a value, not a table")
    table[last] = value


def _assign_component(table: dict[str, Any], kind: str, rest: str, value: Any, source: str) -> None:
    entries = table.get(kind, [])
    if not rest:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise ScenarioError(f'{source}: expected a list of names, for example {kind}=["none", "sca"]')
        table[kind] = [entry for n in names for entry in ([e for e in entries if e.get("name") == n] or [{"name": n}])]
        return
    name, _, option = rest.partition(".")
    chosen = [entry for entry in entries if entry.get("name") == name]
    if not option:
        raise ScenarioError(f"{source}: expected {kind}.NAME.OPTION=value, for example {kind}.{name}.option=1")
    if not chosen:
        present = [str(entry.get("name")) for entry in entries]
        raise ScenarioError(f"{source}: {unknown(f'{kind} of this scenario', name, present)}")
    for entry in chosen:
        entry[option] = value


def _check_components(scenario: Scenario, source: str) -> None:
    from splitfed.attacks import ATTACKS
    from splitfed.data import check_name
    from splitfed.defenses import DEFENSES
    from splitfed.wire.codec import CODECS

    for key, name in (("data.name", scenario.data.name), ("data.fallback", scenario.data.fallback)):
        try:
            if name is not None:
                check_name(name)
        except DataError as error:
            raise ScenarioError(f"{source}: {key}: {error}") from error
    if scenario.federation.codec not in CODECS:
        raise ScenarioError(f"{source}: federation.codec: {unknown('codec', scenario.federation.codec, CODECS)}")
    registries: Iterable[tuple[str, Sequence[Component], Registry[Any]]] = (
        ("defense", scenario.defense, DEFENSES),
        ("attack", scenario.attack, ATTACKS),
    )
    for kind, components, registry in registries:
        for component in components:
            if component.name not in registry:
                raise ScenarioError(f"{source}: {registry.why_not(component.name)}")
            options = registry[component.name].Options
            try:
                options.model_validate(component.options)
            except ValidationError as error:
                where = f"{source}: {kind} {component.name!r}"
                raise ScenarioError(explain(error, options, where)) from None
    if CODECS[scenario.federation.codec].mixes_samples:
        _check_per_sample(scenario, source)
    _check_frames(scenario, source)


def _check_frames(scenario: Scenario, source: str) -> None:
    """Refuse batches that may not fit into a frame, as each client would find out with its first one."""
    from splitfed.defenses import build
    from splitfed.wire.codec import CODECS
    from splitfed.wire.limits import MAX_MESSAGE_BYTES, frame_bytes, largest_batch

    federation = scenario.federation
    for component in scenario.defense:
        numbers = build(component.name, component.options).released(scenario.model.width)
        # once decoded, a tensor takes 4 bytes a number whatever the codec is
        image_bytes = max(4 * numbers, CODECS[federation.codec].most_bytes(numbers))
        needed_bytes = frame_bytes(federation.batch_size, image_bytes)
        if needed_bytes > MAX_MESSAGE_BYTES:
            most = largest_batch(image_bytes)
            way_out = f"use a federation.batch_size of at most {most}, or a smaller" if most > 1 else "use a smaller"
            raise ScenarioError(
                f"{source}: federation.batch_size ({federation.batch_size}) images of {numbers:,} numbers each, as "
                f"defense {component.title!r} releases them, take up to {needed_bytes:,} bytes in codec "
                f"{federation.codec!r}; a frame holds {MAX_MESSAGE_BYTES:,}: {way_out} model.width"
            )


def _check_per_sample(scenario: Scenario, source: str) -> None:
    """Refuse defenses whose promise a codec that mixes the samples of a batch would break."""
    from splitfed.defenses import build

    for component in scenario.defense:
        if build(component.name, component.options).per_sample:
            raise ScenarioError(
                f"{source}: federation.codec {scenario.federation.codec!r} mixes the samples of a batch, and defense "
                f"{component.title!r} promises something of each sample by itself; use float32, float16, bfloat16 or "
                f"sparse, or leave the defense out"
            )
