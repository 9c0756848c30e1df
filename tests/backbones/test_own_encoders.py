"""Encoders of one's own: functions and modules are shown crops, and refused where their vectors would be worthless."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from embstore.backbones.crops import Crops
from embstore.backbones.own import EncoderKeys, own_encoder
from embstore.backbones.pooled import PooledEncoder
from embstore.errors import EmbstoreError

KEYS: EncoderKeys = {"name": "mine", "roles": ["nucleus", "protein"], "input_px": 32}
STATED: EncoderKeys = {**KEYS, "fingerprint": "1"}

pytestmark = pytest.mark.usefixtures("one_thread")


class Net(nn.Module):
    """Two layers and a mean, as many networks end."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(2, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.norm(self.conv(pixels)).relu().mean((2, 3))
        return pooled


def means(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels.mean((2, 3)), pixels.std((2, 3))], axis=1)


def crops(roles: tuple[str, ...] = ("protein", "nucleus", "er"), n: int = 40) -> Crops:
    pixels = np.random.default_rng(1).uniform(size=(n, len(roles), 32, 32)).astype(np.float32)
    cell = np.zeros((n, 32, 32), bool)
    cell[:, 8:24, 8:24] = True
    return Crops(pixels, roles, cell, cell)


def weights_of(encoder: PooledEncoder) -> str:
    assert encoder.space.weights_sha256 is not None
    return encoder.space.weights_sha256


def test_a_function_gets_the_roles_in_the_order_that_it_names() -> None:
    """Float32 arrays of intensities as they are, whatever else the crops show."""
    encoder = own_encoder(means, STATED)
    part = crops()
    wanted = means(part.pixels[:, [1, 0]])
    np.testing.assert_allclose(encoder(part), wanted, rtol=1e-5)
    assert (encoder.dim, encoder.device, encoder.space.label) == (4, "cpu", "mine:mapping")
    assert (encoder.space.roles, encoder.space.input_px, encoder.space.crop_um) == (("nucleus", "protein"), 32, 25.0)


def test_the_keys_of_a_spec_change_what_it_is_shown() -> None:
    """Masks, fills, normalisation, size, unit, intensity and precision are part of the space, as for a backbone."""
    part, plain = crops(("nucleus",)), own_encoder(means, STATED)
    np.testing.assert_allclose(plain(part)[:, 1], 0)  # the protein is absent
    filled = own_encoder(means, {**STATED, "fill": "copy", "masked": True})
    np.testing.assert_allclose(filled(part)[:, 0], filled(part)[:, 1])
    assert filled(part)[:, 0].max() < 0.5 * plain(part)[:, 0].min()
    scored = own_encoder(means, {**STATED, "normalisation": "zscore"})
    np.testing.assert_allclose(scored(part)[:, [0, 2]], [[0, 1]] * len(part), atol=1e-4)
    whole = own_encoder(
        means, {**STATED, "unit": "image", "input_px": 0, "intensity": "minmax", "precision": "float32"}
    )
    assert (whole.space.unit, whole.space.input_px, whole.space.crop_um) == ("image", None, None)
    assert whole.space.precision == "float32"
    spaces = {encoder.space.digest for encoder in (plain, filled, scored, whole)}
    assert len(spaces) == 4
    assert own_encoder(means, {**STATED, "crop_um": 25}).space == plain.space  # a whole number is the same number


def test_a_module_is_known_by_its_tensors() -> None:
    """The same weights are the same space, in any process; one changed number, or a text, is another."""
    first = own_encoder(Net().eval(), KEYS)
    part = crops()
    with torch.inference_mode():
        wanted = Net().eval()(torch.from_numpy(part.pixels[:, [1, 0]])).numpy()
    np.testing.assert_allclose(first(part), wanted, rtol=1e-5, atol=1e-6)
    assert own_encoder(Net().eval(), KEYS).space == first.space
    changed = Net().eval()
    with torch.no_grad():
        changed.conv.bias[0] += 1e-3
    assert weights_of(own_encoder(changed, KEYS)) != weights_of(first)
    assert weights_of(own_encoder(Net().eval(), {**KEYS, "fingerprint": "v2"})) != weights_of(first)
    assert weights_of(own_encoder(Net(1).eval(), STATED)) == weights_of(own_encoder(means, STATED))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_module_is_called_in_its_own_type(dtype: torch.dtype) -> None:
    """Other types than float32 work, and are another fingerprint."""
    encoder = own_encoder(Net().eval().to(dtype), KEYS)
    assert encoder(crops()).dtype == np.float32
    assert weights_of(encoder) != weights_of(own_encoder(Net().eval(), KEYS))


def test_a_compiled_network_of_torch_script_is_a_module() -> None:
    """The way out for files that `backbones add` refuses: loaded by the user, who trusts them."""
    with pytest.warns(FutureWarning):
        script = torch.jit.script(Net().eval())
    plain = own_encoder(Net().eval(), KEYS)
    encoder = own_encoder(script, KEYS)
    assert encoder.space == plain.space
    np.testing.assert_allclose(encoder(crops()), plain(crops()), rtol=1e-5, atol=1e-6)


def noisy(pixels: np.ndarray) -> np.ndarray:
    return means(pixels) + np.random.default_rng().normal(size=(len(pixels), 4))


def of_batch(pixels: np.ndarray) -> np.ndarray:
    return means(pixels - pixels.mean(axis=0))


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "training": (Net(), {}, "is in training mode, where dropout and batch statistics"),
    "no fingerprint": (means, {"fingerprint": None}, "fingerprint of; give fingerprint='...'"),
    "no tensors": (nn.Flatten().eval(), {"fingerprint": None}, "has no tensors to compute a fingerprint of"),
    "not loaded": (nn.LazyLinear(3).eval(), {"fingerprint": None}, "of the encoder mine has no values yet"),
    "chance": (noisy, {}, "gave one crop two vectors, shown alone and with others"),
    "the batch": (of_batch, {}, "must not depend on chance or on the batch"),
    "tokens": (lambda p: np.zeros((len(p), 7, 3)), {}, "returned float64 of shape (3, 7, 3) for 3 crops"),
    "one vector": (lambda p: p.mean((0, 2, 3)), {}, "returned float32 of shape (2,) for 3 crops"),
    "a dictionary": (lambda p: {"x": p}, {}, "returned object of shape () for 3 crops"),
    "not finite": (lambda p: means(p) * np.nan, {}, "returned NaN or infinity"),
    "too large": (lambda p: means(p) * 1e6, {}, "beyond those of float16; give precision='float32'"),
    "other channels": (nn.Sequential(nn.Conv2d(3, 2, 3)).eval(), {}, "called with float32 of 3 x 2 x 32 x 32"),
    "no function": ("resnet50", {}, "is a str; wanted a function or a torch.nn.Module"),
    "device": (means, {"device": "cpu"}, "leave device= out"),
    "unknown key": (means, {"crop": 3}, "has no key 'crop'; its keys are name, roles, input_px"),
    "roles as text": (means, {"roles": "nucleus"}, "roles= is the text 'nucleus'; wanted a list"),
    "no role": (means, {"roles": []}, "roles= is []; wanted roles"),
    "size": (means, {"input_px": "large"}, "input_px= is 'large'; wanted a side in pixels"),
    "unit": (means, {"unit": "protein"}, "there is no unit 'protein'; choose from: cell, image"),
    "normalisation": (means, {"normalisation": "log"}, "there is no normalisation 'log'; choose from"),
    "width": (means, {"crop_um": 0}, "crop_um= is 0; wanted a number of µm above 0"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_would_make_worthless_vectors_is_refused_in_one_line(kind: str) -> None:
    """Before anything is read or written: what was found, what was wanted, what to do."""
    encoder, changes, line = WRONG[kind]
    device = changes.pop("device", "auto") if "device" in changes else "auto"
    with pytest.raises(EmbstoreError) as caught:
        own_encoder(encoder, {**STATED, **changes}, device)  # type: ignore[typeddict-item]
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_without_a_default_has_to_be_given() -> None:
    """Name, roles and size are asked for one at a time."""
    call: Callable[..., Any] = own_encoder
    with pytest.raises(EmbstoreError, match="an encoder of your own wants roles= too"):
        call(means, {"name": "mine", "input_px": 32})


def test_a_function_without_torch_imports_none() -> None:
    """A program that only calls NumPy does not wait for it."""
    program = (
        "import sys; from embstore.backbones.own import own_encoder\n"
        "keys = {'name': 'm', 'roles': ['protein'], 'input_px': 8, 'fingerprint': '1'}\n"
        "e = own_encoder(lambda p: p.mean((2, 3)), keys)\n"
        "print(e.dim, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]
