"""Files of weights, read without running anything in them: safetensors, and what `torch.save` writes."""

from __future__ import annotations

import argparse
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embstore.errors import WeightsError, first_line

if TYPE_CHECKING:
    import torch

# what to do with a network that only Python can load
IN_PYTHON = "load the network in Python and give it to es.embed(store, encoder=network, ...)"
# whatever torch's and pickle's readers raise on bytes that are no checkpoint
BROKEN = (
    pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, LookupError, AttributeError, TypeError,
    AssertionError, ArithmeticError, MemoryError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


def read_file(path: Path) -> dict[str, Any]:
    """Return what a file of weights contains, by name: tensors, or dictionaries of them beside other things.

    Nothing in the file is run: pickles may contain tensors, plain values and one argparse.Namespace. Raises
    WeightsError in one line for whatever else the file is, TorchScript and pickled modules among it.
    """
    return _read_safetensors(path) if _is_safetensors(path) else _read_pickle(path)


def _is_safetensors(path: Path) -> bool:
    """True if the file begins as safetensors do: eight bytes of the header's length, then the brace of its JSON."""
    try:
        with path.open("rb") as handle:
            head = handle.read(9)
    except OSError as error:
        raise WeightsError(f"cannot read {path} ({error.strerror})", todo="name a file of weights") from error
    if not head:
        raise WeightsError(f"{path} is empty")
    return head[8:9] == b"{" or path.suffix == ".safetensors"


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file  # the only reader that knows bfloat16

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError, LookupError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({first_line(error)})") from error


def _read_pickle(path: Path) -> dict[str, Any]:
    import torch

    try:
        if packed := zipfile.is_zipfile(path):
            _check_zip(path)
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of newer pickles, which it then cannot read
            # mapped, so that DINO's optimizer, student and head, three quarters of its file, are never read
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=packed)
    except BROKEN as error:
        raise _unreadable(path, error) from error
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path} contains a {type(loaded).__name__}, wanted a dictionary of tensors")
    return dict(loaded)


def _check_zip(path: Path) -> None:
    """Refuse an archive that is a program, is damaged, or would unpack to more than it is."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        if kind := _program(archive.namelist()):
            raise WeightsError(
                f"{path} is {kind}: reading it would run the code inside, which embstore never does",
                todo=f"save the network's state_dict() in place of it, or {IN_PYTHON}",
            )
        claimed = sum(entry.file_size for entry in archive.infolist())
        if claimed > size:  # `torch.save` never compresses
            raise WeightsError(
                f"{path} is a zip file of {size} bytes that unpacks to {claimed}, which no checkpoint does"
            )
        if damaged := archive.testzip():  # torch does not look at checksums
            raise WeightsError(f"{path} is damaged: its entry {damaged} has another checksum")


def _program(names: list[str]) -> str:
    """Return what kind of program an archive's entries are, "" where they are tensors."""
    inside = {name.partition("/")[2] for name in names}  # all below one folder
    if "constants.pkl" in inside or any(name.startswith("code/") for name in inside):
        return "a TorchScript program (torch.jit.save)"
    if "serialized_exported_program.json" in {*inside, *names} or any(name.startswith("models/") for name in inside):
        return "an exported program (torch.export.save)"
    return ""


def _unreadable(path: Path, error: BaseException) -> WeightsError:
    """Return what is wrong with a pickle; torch's own refusals are paragraphs that advise to trust the file."""
    refused = re.search(r"nsupported (?:global: )?GLOBAL ([\w.]+)", str(error))
    if refused:
        return WeightsError(
            f"{path} asks to run {refused[1]} when it is read, which is refused: wanted nothing but tensors",
            todo=f"if it is a pickled module, save its state_dict() in place of it, or {IN_PYTHON}",
        )
    if isinstance(error, pickle.UnpicklingError):
        return WeightsError(f"{path} contains no pickle of tensors (it is of another kind, or damaged)")
    if isinstance(error, LookupError):  # torch's reader met a byte that it has no meaning for: its number helps nobody
        return WeightsError(f"{path} is not a readable checkpoint (its bytes are of another kind)")
    return WeightsError(f"{path} is not a readable checkpoint ({first_line(error)[:120]})")
