"""Encoders that embstore does not build: a function or a torch module of the user's, or of a package."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NotRequired, Protocol, TypedDict, cast

import numpy as np

from embstore.arrays import Float32s
from embstore.backbones.pooled import PooledEncoder
from embstore.backbones.record import Backbone, Choices, space_of
from embstore.backbones.weights import weights_sha256
from embstore.errors import EmbstoreError, first_line
from embstore.ids import digest
from embstore.space import SPEC_KEYS

CROP_UM_OF_CELLS = 25.0  # a whole HEK293T, A-431 or U-2 OS cell with a little of its neighbours
PROBE_PX = 224  # where whole images are shown at their own size
MAX_BATCH_DRIFT = 0.01  # of a vector's length: a cosine of 0.99995
# what a network raises when it is shown what it does not take
REFUSALS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, AssertionError)


class Encoder(Protocol):
    """A function or torch.nn.Module that turns pixels into vectors: what `es.embed(store, encoder=...)` takes.

    It is called with float32 (n, roles, y, x), intensities in [0, 1] unless `normalisation` is another: a function
    gets a NumPy array, a module a tensor of its own device and floating type. It returns numbers of shape (n, dim), as
    an array or a tensor; row i describes crop i, whatever crops it is shown with.
    """

    def __call__(self, pixels: Any, /) -> Any:
        """Return the vectors of crops."""


class EncoderKeys(TypedDict):
    """How `es.embed` shows images to an encoder of the user's own; the first three have no default.

    `name` is the name under which its vectors are searched, `roles` what each input channel shows, in order, and
    `input_px` the side of a crop in pixels. `crop_um` is its side in µm [25]. `fingerprint` is any text that changes
    when the vectors would; without it, the sha256 of a module's tensors serves. `unit` (cell or image), `masked`,
    `fill`, `intensity` and `precision` are keys of a backbone spec, and `normalisation` is that of a record (zscore,
    minmax, ...) [none].
    """

    name: NotRequired[str]
    roles: NotRequired[Sequence[str]]
    input_px: NotRequired[int]
    crop_um: NotRequired[float]
    fingerprint: NotRequired[str | None]
    unit: NotRequired[str]
    masked: NotRequired[bool]
    fill: NotRequired[float | str]
    intensity: NotRequired[str]
    precision: NotRequired[str | None]
    normalisation: NotRequired[str]


def own_encoder(encoder: Encoder, keys: EncoderKeys, device: str = "auto") -> PooledEncoder:
    """Return an encoder of the user's own, shown crops as `keys` state.

    Raises EmbstoreError where a key is missing or wrong, where nothing identifies what the vectors depend on, and where
    the encoder does not give one vector a crop, finite and independent of the other crops.
    """
    unknown = set(keys) - set(EncoderKeys.__annotations__)
    lacking = [key for key in ("name", "roles", "input_px") if key not in keys]
    if unknown or lacking:
        problem = f"has no key {min(unknown)!r}" if unknown else f"wants {lacking[0]}= too"
        raise EmbstoreError(f"an encoder of your own {problem}; its keys are {', '.join(EncoderKeys.__annotations__)}")
    if device != "auto":
        raise EmbstoreError(
            f"an encoder of your own computes where it is, and device={device} was asked for; leave device= out, and "
            "move a module yourself: network.to('cuda')"
        )
    given = {key: _value(key, value) for key, value in keys.items() if value is not None}
    backbone = Backbone(
        name=given["name"],
        revision=1,
        kind="encoder",
        architecture=encoder_name(encoder),
        slots=given["roles"],
        input_px=given["input_px"],
        crop_um=given.get("crop_um", CROP_UM_OF_CELLS),
        normalisation=given.get("normalisation", "none"),
        pooling="none",
        dim=0,  # known when it is first called
        licence="yours",
        source="es.embed",
        note="an encoder of your own",
        weights_format="none",
        origin="user",
    )
    choices = Choices(
        fill=given.get("fill", 0.0),
        masked=given.get("masked"),
        unit=given.get("unit", "cell"),
        intensity=given.get("intensity", "percentile"),
        input_px=given["input_px"],
        precision=given.get("precision"),
    )
    return encoder_of(backbone, choices, encoder, fingerprint_of(encoder, given.get("fingerprint"), given["name"]))


def _value(key: str, value: Any) -> Any:
    """Return the value of a key as a backbone spec would be read; name, fingerprint and normalisation are as given."""
    if key not in SPEC_KEYS:
        return value
    if key == "roles" and isinstance(value, str):
        raise EmbstoreError(f"roles= is the text {value!r}; wanted a list of names, such as ['nucleus', 'protein']")
    try:
        return SPEC_KEYS[key].read(",".join(value) if key == "roles" else str(value))
    except (ValueError, TypeError):
        raise EmbstoreError(f"{key}= is {value!r}; wanted {SPEC_KEYS[key].wanted}") from None


def encoder_of(backbone: Backbone, choices: Choices, encoder: Encoder, weights: str) -> PooledEncoder:
    """Return a function or module as an encoder of crops, after it was tried on a few made of noise."""
    module = is_module(encoder)
    if module:
        _check_module(encoder, backbone.name)
    vectors_of = _vectors_of(encoder, backbone.name, module=module)
    space = space_of(backbone, choices, weights)
    dim = _tried(vectors_of, backbone, space.input_px or PROBE_PX, half=space.precision.startswith("float16"))
    device = _place(encoder)[0].type if module else "cpu"
    return PooledEncoder(replace(backbone, dim=dim), space, vectors_of, dim, device)


def is_module(encoder: Encoder) -> bool:
    """True if an encoder is a torch.nn.Module; torch is not imported for a function."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(encoder, torch.nn.Module)


def encoder_name(encoder: Encoder) -> str:
    """Return what an encoder is called in Python, such as `mylab.networks.CellNet`."""
    named = encoder if hasattr(encoder, "__qualname__") else type(encoder)
    return f"{named.__module__}.{named.__qualname__}"


def fingerprint_of(encoder: Encoder, given: str | None, name: str) -> str:
    """Return the sha256 that stands for what an encoder's vectors depend on: of the given text, else of its tensors.

    Raises EmbstoreError where there is neither, and for what cannot be called.
    """
    if not callable(encoder):
        raise EmbstoreError(f"the encoder {name} is a {type(encoder).__name__}; wanted a function or a torch.nn.Module")
    if given:
        return digest({"fingerprint": given})
    state = cast(Any, encoder).state_dict() if is_module(encoder) else {}
    if not state:
        raise EmbstoreError(
            f"the encoder {name} has no tensors to compute a fingerprint of; give fingerprint='...', any text that you "
            "change when its vectors would change"
        )
    return weights_sha256(dict(_array(tensor_name, tensor, name) for tensor_name, tensor in state.items()))


def _array(tensor_name: str, tensor: Any, name: str) -> tuple[str, Any]:
    """Return a tensor's name and bytes as an array; types that NumPy lacks are named, and their bytes taken as such."""
    import torch

    if not isinstance(tensor, torch.Tensor):  # what a module's get_extra_state returns
        raise EmbstoreError(f"{tensor_name} of the encoder {name} is no tensor; give fingerprint='...'")
    if tensor.device.type == "meta" or torch.nn.parameter.is_lazy(tensor):
        raise EmbstoreError(f"{tensor_name} of the encoder {name} has no values yet; load its weights first")
    whole = tensor.detach().cpu().contiguous()
    try:
        return tensor_name, whole.numpy()
    except TypeError:  # bfloat16, float8
        return f"{tensor_name} {whole.dtype}", whole.view(torch.uint8).numpy()


def _check_module(encoder: Any, name: str) -> None:
    if any(getattr(part, "training", False) for part in encoder.modules()):
        raise EmbstoreError(
            f"the encoder {name} is in training mode, where dropout and batch statistics make its vectors depend on "
            "chance; call network.eval() first"
        )


def _place(encoder: Any) -> tuple[Any, Any]:
    """Return the device and the floating type of a module's tensors."""
    import torch

    tensors = [*encoder.parameters(), *encoder.buffers()]
    floating = next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)
    return (tensors[0].device if tensors else torch.device("cpu")), floating


def _vectors_of(encoder: Encoder, name: str, *, module: bool) -> Callable[[Float32s], Float32s]:
    """Return a function from views to vectors that checks what the encoder returns."""

    def vectors_of(view: Float32s) -> Float32s:
        try:
            result = _call_module(encoder, view) if module else encoder(view)
            vectors = result.detach().float().cpu().numpy() if hasattr(result, "detach") else np.asarray(result)
        except REFUSALS as error:
            shape = " x ".join(map(str, view.shape))
            raise EmbstoreError(
                f"the encoder {name} cannot be called with float32 of {shape} (crops, roles, y, x): {first_line(error)}"
            ) from error
        return _checked(vectors, len(view), name)

    return vectors_of


def _call_module(encoder: Any, view: Float32s) -> Any:
    import torch

    device, dtype = _place(encoder)
    with torch.inference_mode():
        return encoder(torch.from_numpy(view).to(device, dtype))


def _checked(vectors: Any, n: int, name: str) -> Float32s:
    if vectors.dtype.kind not in "fiu" or vectors.ndim != 2 or vectors.shape[0] != n or not vectors.shape[1]:
        raise EmbstoreError(
            f"the encoder {name} returned {vectors.dtype} of shape {vectors.shape} for {n} crops; wanted numbers of "
            f"shape ({n}, dim): one vector a crop, such as the mean of its tokens"
        )
    return np.ascontiguousarray(vectors, np.float32)


def _tried(vectors_of: Callable[[Float32s], Float32s], backbone: Backbone, px: int, *, half: bool) -> int:
    """Return the length of a vector, or raise EmbstoreError where one is not finite or depends on the other crops."""
    name = backbone.name
    noise = np.random.default_rng(0).uniform(size=(3, len(backbone.slots), px, px)).astype(np.float32)
    together, alone = vectors_of(noise.copy()), vectors_of(noise[1:2].copy())
    if not np.isfinite(together).all():
        raise EmbstoreError(f"the encoder {name} returned NaN or infinity for crops of noise; correct it")
    if half and not (np.abs(together) <= np.finfo(np.float16).max).all():
        raise EmbstoreError(f"the encoder {name} returned numbers beyond those of float16; give precision='float32'")
    drift = np.linalg.norm(together[1] - alone[0])
    if drift > MAX_BATCH_DRIFT * np.linalg.norm(alone[0]) + np.finfo(np.float32).eps:
        raise EmbstoreError(
            f"the encoder {name} gave one crop two vectors, shown alone and with others; its vectors must not depend "
            "on chance or on the batch (dropout, batch statistics)"
        )
    return int(together.shape[1])


def described_arguments(encoder: Encoder | None, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a store's history records of an encoder of the user's own: its name in Python and its keys."""
    return {} if encoder is None else {**keys, "encoder": encoder_name(encoder)}
