"""What lies in the knowledge folder is checked when it is read: one message with file, found, wanted, cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from splitfed.attacker import changing_files
from splitfed.attacker.knowledge_files import load_auxiliary, load_front, save_auxiliary
from splitfed.attacker.protocol import Final, newest_front
from splitfed.errors import DataError, UserError
from tests.attacker.quick import SHAPE, front, images


@pytest.fixture(autouse=True)
def _nothing_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing_files, "UNDER_WAY_S", 0.01)


def save(folder: Path, **changes: Any) -> None:
    """Auxiliary images that fit, with changes; None leaves an array out."""
    own = images()
    arrays = {"pixels": own.pixels.numpy(), "labels": own.labels.numpy(), "classes": np.array(own.classes)}
    np.savez(folder / "auxiliary.npz", **{k: v for k, v in (arrays | changes).items() if v is not None})


def test_what_was_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    save_auxiliary(tmp_path, images())
    loaded = load_auxiliary(tmp_path, SHAPE)
    assert torch.equal(loaded.pixels, images().pixels)
    assert torch.equal(loaded.labels, images().labels)
    assert loaded.classes == images().classes


def test_pixels_of_8_bits_are_divided_by_255(tmp_path: Path) -> None:
    save(tmp_path, pixels=np.full((40, *SHAPE), 51, np.uint8), labels=np.zeros(40, np.int16))
    loaded = load_auxiliary(tmp_path, SHAPE)
    assert loaded.pixels.dtype == torch.float32
    assert loaded.labels.dtype == torch.int64
    assert torch.equal(loaded.pixels, torch.full((40, *SHAPE), 0.2))


PIXELS = images().pixels.numpy()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pixels": PIXELS * 255}, r"pixels are in \[[\d.]+, 25[\d.]+\]; want \[0, 1\]: divide them by 255"),
        ({"pixels": PIXELS * 2 - 1}, r"pixels are in \[-[\d.]+, [\d.]+\]; want \[0, 1\]: scale them"),
        ({"pixels": (PIXELS * 255).astype(np.int32)}, r"pixels are int32; want float32 .* or uint8"),
        ({"pixels": np.where(PIXELS > 0.99, np.nan, PIXELS)}, "NaN or infinite"),
        ({"pixels": PIXELS[:, 0]}, r"pixels are \(40, 8, 8\); want \(N, 1, 8, 8\)"),
        ({"pixels": PIXELS[:, :, :7]}, r"pixels are \(40, 1, 7, 8\); want \(N, 1, 8, 8\)"),
        ({"pixels": PIXELS[:19]}, "19 images; want at least 20"),
        ({"pixels": None}, "has no pixels; want pixels, labels, classes"),
        ({"labels": None, "classes": None}, "has no labels and no classes"),
        ({"labels": np.zeros(39, np.int64)}, r"labels are int64 \(39,\); want integers \(40,\)"),
        ({"labels": np.zeros((40, 1), np.int64)}, r"labels are int64 \(40, 1\); want integers \(40,\)"),
        ({"labels": np.zeros(40)}, r"labels are float64 \(40,\); want integers"),
        ({"labels": np.arange(40)}, "labels are in 0 to 39; want 0 to 1, as there are 2 classes"),
        ({"labels": np.arange(40) % 2 - 1}, "labels are in -1 to 0; want 0 to 1"),
        ({"classes": np.arange(2)}, r"classes are int64 \(2,\); want one text for each"),
        ({"labels": np.array([0] * 40, object)}, "damaged, or no archive of plain arrays"),
    ],
)
def test_images_that_do_not_fit_are_refused(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    save(tmp_path, **changes)
    with pytest.raises(DataError, match=says) as error:
        load_auxiliary(tmp_path, SHAPE)
    assert str(tmp_path / "auxiliary.npz") in str(error.value)
    assert "\n" not in str(error.value)


def damaged(whole: bytes) -> dict[str, bytes]:
    """Ways in which a file can be broken."""
    middle = len(whole) // 2
    return {
        "empty": b"",
        "cut": whole[:middle],
        "no archive": b"pixels",
        "one array": b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }".ljust(127)
        + b"\n",
        "flipped": whole[: middle - 40] + bytes(byte ^ 0xFF for byte in whole[middle - 40 : middle]) + whole[middle:],
    }


@pytest.mark.parametrize("how", damaged(b""))
def test_images_in_a_damaged_file_are_refused(how: str, tmp_path: Path) -> None:
    save(tmp_path)
    file = tmp_path / "auxiliary.npz"
    file.write_bytes(damaged(file.read_bytes())[how])
    with pytest.raises(DataError, match=r"auxiliary\.npz"):
        load_auxiliary(tmp_path, SHAPE)


def test_images_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"auxiliary\.npz, the attacker's own images, cannot be read: No such file"):
        load_auxiliary(tmp_path, SHAPE)


def save_front(folder: Path, state: object, name: str = "0003.pt") -> Path:
    path = folder / "fronts" / name
    path.parent.mkdir(exist_ok=True)
    torch.save(state, path)
    return path


def changed(**tensors: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """The state of a front that fits, with changes; None leaves a tensor out."""
    state = front().state_dict() | {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in state.items() if tensor is not None}


def test_a_front_is_loaded_to_the_bit(tmp_path: Path) -> None:
    save_front(tmp_path, front().state_dict())
    loaded = front()
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.zero_()
    load_front(tmp_path, 3, loaded)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), front().parameters(), strict=True))
    assert newest_front(tmp_path) == 3


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (changed(body__0__bias=None), r"it lacks body\.0\.bias\."),
        (changed(head__weight=torch.zeros(2)), r"it has head\.weight besides"),
        (changed(body__0__weight=torch.zeros(16, 63)), r"body\.0\.weight is \(16, 63\), want \(16, 64\)"),
        (changed(body__0__bias=torch.full((16,), float("nan"))), r"body\.0\.bias NaN or infinite in places"),
        ([torch.zeros(1)], "holds list; want a state dict"),
        ({"epoch": 3}, "holds dict; want a state dict"),
        (Path(), "damaged, or no state dict"),
    ],
)
def test_a_front_that_does_not_fit_is_refused(state: object, says: str, tmp_path: Path) -> None:
    path = save_front(tmp_path, state)
    with pytest.raises(UserError, match=says) as error:
        load_front(tmp_path, 3, front())
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("how", ["empty", "cut", "no archive"])
def test_a_front_in_a_damaged_file_is_refused(how: str, tmp_path: Path) -> None:
    path = save_front(tmp_path, front().state_dict())
    path.write_bytes(damaged(path.read_bytes())[how])
    with pytest.raises(UserError, match=r"0003\.pt") as error:
        load_front(tmp_path, 3, front())
    assert "\n" not in str(error.value)


def test_a_front_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no .*0007\.pt: put it there before"):
        load_front(tmp_path, 7, front())


@pytest.mark.parametrize("name", ["3.pt", "last.pt", "0003.5.pt"])
def test_a_front_is_called_by_its_round(name: str, tmp_path: Path) -> None:
    save_front(tmp_path, front().state_dict(), name)
    with pytest.raises(UserError, match=r"as 0003\.pt for round 3"):
        newest_front(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r'want JSON, as \{"round": 7, "rows": 6000\}'),
        ("round 7", r'want JSON, as \{"round": 7, "rows": 6000\}'),
        ("[7, 6000]", "valid dictionary"),
        ('{"round": 7}', "rows is missing"),
        ('{"round": 7, "row": 1, "rows": 2}', "unknown key row; did you mean rows"),
        ('{"round": 0, "rows": 2}', "round = 0"),
        ('{"round": 7, "rows": -1}', "rows = -1"),
        ('{"round": "last", "rows": 1}', "round = 'last'"),
    ],
)
def test_a_final_round_that_cannot_be_read_is_refused(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "final.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=says) as error:
        Final.load(tmp_path)
    assert "final.json" in str(error.value)


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = '{"round": 7, "rows": 6000}'
    (tmp_path / "final.json").write_text(whole[:9], encoding="utf-8")
    monkeypatch.setattr("time.sleep", lambda _: (tmp_path / "final.json").write_text(whole, encoding="utf-8"))
    assert Final.load(tmp_path) == Final(round=7, rows=6000)
