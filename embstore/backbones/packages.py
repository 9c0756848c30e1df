"""Backbones that installed packages register under the entry point `embstore.backbones`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from embstore.backbones.device import choose_device
from embstore.backbones.record import Backbone, Choices, check_crop_um
from embstore.errors import EmbstoreError, first_line
from embstore.ids import digest

if TYPE_CHECKING:
    from embstore.backbones.own import Encoder
    from embstore.backbones.pooled import PooledEncoder

GROUP = "embstore.backbones"
# what importing somebody else's package may raise
IMPORT_FAILURES = (ImportError, AttributeError, TypeError, ValueError, LookupError, OSError, RuntimeError, SyntaxError)


@dataclass(frozen=True)
class RegisteredBackbone:
    """A backbone of a package: what the entry point `embstore.backbones` of its pyproject.toml names.

    `load` is called where vectors are computed, and returns the encoder, a function or a torch.nn.Module in evaluation
    mode (see `Encoder`). `roles` are what each input channel shows, in order; a crop shows `crop_um` micrometres on
    `input_px` pixels; `dim` is the length of a vector. `fingerprint` is any text that changes when the vectors would,
    such as a version; without it, the sha256 of the module's tensors serves. `normalisation`, `mean`, `std`, `masked`
    and `init` are those of a record (see `Backbone`).
    """

    load: Callable[[], Encoder]
    roles: tuple[str, ...]
    input_px: int
    dim: int
    crop_um: float = 25.0
    fingerprint: str | None = None
    normalisation: str = "none"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    masked: bool = False
    licence: str = "not stated"
    note: str = ""
    citation: str = ""
    init: str = ""


def registered() -> dict[str, list[EntryPoint]]:
    """Return the entry points of each name, in order of the names; no package is imported."""
    by_name: dict[str, list[EntryPoint]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        by_name.setdefault(entry.name, []).append(entry)
    return by_name


def registered_record(name: str) -> Backbone | None:
    """Return the record of a backbone that a package registers, None where none does; imports the package.

    Raises EmbstoreError in one line where two packages register the name, or one cannot be imported or does not
    register a RegisteredBackbone.
    """
    entries = registered().get(name, [])
    if not entries:
        return None
    if len(entries) > 1:
        raise EmbstoreError(
            f"{' and '.join(map(package_of, entries))} register a backbone {name}; uninstall one of them"
        )
    offered = _loaded(entries[0])
    check_crop_um(offered.crop_um)
    return Backbone(
        name=name,
        revision=1,
        kind="encoder",
        architecture=entries[0].value,
        slots=tuple(offered.roles),
        input_px=offered.input_px,
        crop_um=float(offered.crop_um),
        normalisation=offered.normalisation,
        mean=tuple(map(float, offered.mean)),
        std=tuple(map(float, offered.std)),
        masked=offered.masked,
        pooling="none",
        dim=offered.dim,
        licence=offered.licence,
        source=package_of(entries[0]),
        note=offered.note or f"of {package_of(entries[0])}",
        weights_format="none",
        weights_sha256=digest({"fingerprint": offered.fingerprint}) if offered.fingerprint else None,
        citation=offered.citation,
        init=offered.init,
        origin="package",
    )


def load_registered(backbone: Backbone, choices: Choices, device: str) -> PooledEncoder:
    """Return the encoder of a backbone that a package registers; a module is moved to the device.

    Raises EmbstoreError, with the package's name, where it cannot be loaded or is not what its record states.
    """
    from embstore.backbones.own import encoder_of, fingerprint_of, is_module

    (entry,) = registered()[backbone.name]
    offered = _loaded(entry)
    try:
        encoder = offered.load()
    except IMPORT_FAILURES as error:
        raise EmbstoreError(f"{package_of(entry)} cannot load {backbone.name} ({first_line(error)})") from error
    if is_module(encoder):
        encoder = encoder.to(choose_device(device))  # type: ignore[attr-defined]  # a torch.nn.Module
    loaded = encoder_of(backbone, choices, encoder, fingerprint_of(encoder, offered.fingerprint, backbone.name))
    if loaded.pass_dim != backbone.dim:
        raise EmbstoreError(
            f"{package_of(entry)} states {backbone.dim} numbers for {backbone.name}, whose vectors have "
            f"{loaded.pass_dim}; its author has to correct dim="
        )
    return loaded


def package_of(entry: EntryPoint) -> str:
    """Return the package of an entry point, with its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def _loaded(entry: EntryPoint) -> RegisteredBackbone:
    try:
        offered = entry.load()
    except IMPORT_FAILURES as error:
        raise EmbstoreError(
            f"{package_of(entry)} registers the backbone {entry.name} as {entry.value}, which cannot be imported "
            f"({first_line(error)}); reinstall or uninstall it"
        ) from error
    if not isinstance(offered, RegisteredBackbone):
        raise EmbstoreError(
            f"{package_of(entry)} registers the backbone {entry.name} as {entry.value}, a {type(offered).__name__}; "
            "wanted an embstore.RegisteredBackbone"
        )
    return offered
