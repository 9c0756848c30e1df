"""Pooling, masks, fills, whole fields and batches, against timm's network called on tensors made by hand."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_vit import PX, WIDTH, drawn_crops, tiny

from embstore.backbones import pace
from embstore.backbones.crops import Crops
from embstore.backbones.encoder import load
from embstore.backbones.record import Choices
from embstore.backbones.vit import ViT
from embstore.errors import EmbstoreError, ImageError
from embstore.pixels.field import FIELD_SPEC, NATIVE_SPEC

MULTI = {"slots": ("microtubules", "protein", "nucleus", "er"), "normalisation": "zscore", "mean": (), "std": ()}


def loaded(choices: Choices | None = None, **changes: object) -> ViT:
    encoder = load(tiny(**changes), choices or Choices())
    assert isinstance(encoder, ViT)
    return encoder


def tokens_of(encoder: ViT, shown: np.ndarray) -> np.ndarray:
    """Return timm's tokens after the last norm, (n, 1 + patches, width)."""
    with torch.inference_mode():
        tokens: np.ndarray = encoder.network.forward_features(torch.from_numpy(shown.astype(np.float32))).numpy()
    return tokens


def zscored(plane: np.ndarray) -> np.ndarray:
    """Return (n, y, x) as DINO4Cells normalises it."""
    mean, sd = plane.mean(axis=(1, 2), keepdims=True), plane.std(axis=(1, 2), keepdims=True)
    return (plane - mean) / (sd + 1e-7)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


# -- pooling ---------------------------------------------------------------------------------------------------------


def test_pooling_takes_cls_and_patches_apart_and_makes_spaces_of_its_own() -> None:
    """Each pooling is what numpy makes of the same tokens, has its own dim, and its own digest."""
    crops = drawn_crops(2, roles=("microtubules", "protein", "nucleus"))
    mean, std = (np.float32(x)[:, None, None] for x in (tiny().mean, tiny().std))
    tokens = tokens_of(loaded(), (crops.pixels - mean) / std)
    cls, patches = tokens[:, 0], tokens[:, 1:]
    wanted = {
        None: cls,
        "cls": cls,
        "mean": patches.mean(axis=1),
        "cls+mean": np.concatenate([cls, patches.mean(axis=1)], axis=1),
        "cls+mean+std+max": np.hstack([cls, patches.mean(axis=1), patches.std(axis=1), patches.max(axis=1)]),
    }
    encoders = {pooling: loaded(Choices(pooling=pooling)) for pooling in wanted}
    for pooling, vectors in wanted.items():
        assert encoders[pooling].dim == vectors.shape[1]
        np.testing.assert_allclose(encoders[pooling](crops), vectors, atol=1e-5)
    assert encoders[None].space.digest == encoders["cls"].space.digest
    assert len({encoder.space.digest for encoder in encoders.values()}) == 4
    assert loaded(Choices("replication", pooling="cls+mean")).dim == 2 * 2 * WIDTH


def test_a_network_with_its_own_attention_pools_by_it_unless_asked_otherwise() -> None:
    """SubCell's way: over all tokens, CLS among them, twice the width; without it there is no such pooling."""
    args = tiny().architecture_args | {"attention_pool": True}
    own = {"architecture_args": args, "pooling": "attention", "dim": 2 * WIDTH, **MULTI}
    encoder, crops = loaded(**own), drawn_crops(2, roles=MULTI["slots"])
    shown = np.stack([zscored(crops.pixels[:, slot]) for slot in range(4)], axis=1)
    with torch.inference_mode():
        wanted = encoder.network.attention_pool(torch.from_numpy(tokens_of(encoder, shown))).numpy()
    assert encoder.dim == 2 * WIDTH
    np.testing.assert_allclose(encoder(crops), wanted, atol=1e-5)
    assert loaded(Choices(pooling="cls"), **own).dim == WIDTH
    with pytest.raises(EmbstoreError, match="there is no pooling of tiny 'attention'"):
        loaded(Choices(pooling="attention"))


# -- channels --------------------------------------------------------------------------------------------------------


def test_a_network_of_many_channels_sees_each_role_in_its_slot() -> None:
    """Four slots in the order of the Human Protein Atlas, each crop and channel z-scored, the absent one 0."""
    encoder, crops = loaded(**MULTI), drawn_crops(2)
    shown = np.zeros((2, 4, PX, PX), np.float32)
    for slot, channel in ((2, 0), (1, 1), (3, 2)):
        shown[:, slot] = zscored(crops.pixels[:, channel])
    np.testing.assert_allclose(encoder(crops), tokens_of(encoder, shown)[:, 0], atol=1e-5)


def test_replication_of_a_network_of_many_channels_shows_one_role_in_all_slots() -> None:
    """In the order that is asked for, which is another space in another order."""
    crops = drawn_crops(2)
    encoder = loaded(Choices("replication", ("er", "protein")), **MULTI)
    views = [np.repeat(zscored(crops.pixels[:, [c]][:, 0])[:, None], 4, axis=1) for c in (2, 1)]
    wanted = np.concatenate([tokens_of(encoder, view)[:, 0] for view in views], axis=1)
    np.testing.assert_allclose(encoder(crops), wanted, atol=1e-5)
    other = loaded(Choices("replication", ("protein", "er")), **MULTI)
    np.testing.assert_allclose(other(crops), np.roll(wanted, WIDTH, axis=1), atol=1e-5)
    assert other.space.digest != encoder.space.digest


@pytest.mark.parametrize("fill", [0.5, "mean", "copy"])
def test_absent_slots_are_filled_after_normalisation(fill: float | str) -> None:
    """With a number, with the mean of the other slots, or with a copy of the protein; each is a space of its own."""
    crops = drawn_crops(2, roles=("nucleus", "protein"))
    encoder = loaded(Choices(fill=fill), **MULTI)
    nucleus, protein = (zscored(crops.pixels[:, c]) for c in (0, 1))
    absent = {0.5: np.full_like(protein, 0.5), "mean": (nucleus + protein) / 2, "copy": protein}[fill]
    wanted = tokens_of(encoder, np.stack([absent, protein, nucleus, absent], axis=1))[:, 0]
    np.testing.assert_allclose(encoder(crops), wanted, atol=1e-5)
    assert encoder.space.digest != loaded(**MULTI).space.digest


@pytest.mark.parametrize("masked", [None, True])
def test_masked_crops_are_black_outside_their_cell_before_normalisation(masked: bool | None) -> None:
    """By option or by the record; the same as an encoder without masks on crops that were blackened by hand."""
    crops = drawn_crops(2)
    encoder = loaded(Choices(masked=masked), masked=masked is None, **MULTI)
    plain = loaded(Choices(masked=False), masked=masked is None, **MULTI)
    black = replace(crops, pixels=crops.pixels * crops.cell[:, None])
    np.testing.assert_array_equal(encoder(crops), plain(black))
    assert np.abs(encoder(crops) - plain(crops)).max() > 1e-3
    assert encoder.space.masked
    assert encoder.space.digest != plain.space.digest


# -- whole fields ----------------------------------------------------------------------------------------------------


def test_a_larger_side_is_shown_with_interpolated_positions() -> None:
    """What timm makes of its own network at that size, built for it with positions resampled, is what comes out."""
    from timm.layers import resample_abs_pos_embed

    from embstore.backbones.network import build

    encoder = loaded(Choices(input_px=56))
    crops = drawn_crops(2, px=(56, 56), roles=("microtubules", "protein", "nucleus"))
    state = dict(encoder.network.state_dict())
    state["pos_embed"] = resample_abs_pos_embed(state["pos_embed"], [7, 7])
    record = tiny(architecture_args=tiny().architecture_args | {"img_size": 56})
    network = build(record)
    network.load_state_dict(state)
    mean, std = (np.float32(x)[:, None, None] for x in (tiny().mean, tiny().std))
    wanted = tokens_of(replace(encoder, network=network.eval()), (crops.pixels - mean) / std)[:, 0]
    np.testing.assert_allclose(encoder(crops), wanted, atol=1e-5)


def test_native_fields_may_have_any_size_and_are_cut_to_whole_patches() -> None:
    """52 x 43 pixels are the middle 48 x 40; what lies outside changes nothing; sizes differ within a space."""
    encoder = loaded(Choices(unit="image", input_px=0))
    crops = drawn_crops(1, px=(52, 43))
    around = crops.pixels.copy()
    around[..., :2, :] = around[..., -2:, :] = around[..., :, 0] = 0
    np.testing.assert_array_equal(encoder(crops), encoder(replace(crops, pixels=around)))
    assert encoder(drawn_crops(3, px=(32, 64))).shape == (3, WIDTH)
    with pytest.raises(ImageError, match="the field is 64 x 7 px and the network needs at least 8 x 8"):
        encoder(Crops(np.zeros((1, 1, 7, 64), np.float32), ("protein",), *np.zeros((2, 1, 7, 64), bool)))
    with pytest.raises(ImageError, match="a field of 2056 x 2056 px is 66050 tokens to tiny, wanted at most 65536"):
        encoder(Crops(np.zeros((1, 1, 2056, 2056), np.float32), ("protein",), *np.zeros((2, 1, 2056, 2056), bool)))


def test_whole_fields_are_spaces_of_their_own() -> None:
    """Cells, fields on a square, on another square and at native size never share a table; the specs name which."""
    choices = [Choices(), *(Choices(unit="image", input_px=px) for px in (None, 64, 0))]
    spaces = [loaded(c).space for c in choices]
    assert len({space.digest for space in spaces}) == 4
    assert [space.input_px for space in spaces] == [PX, PX, 64, None]
    assert [space.resampling for space in spaces[1:]] == [FIELD_SPEC, FIELD_SPEC, NATIVE_SPEC]
    assert [space.crop_um for space in spaces] == [25.0, None, None, None]


def test_what_cannot_be_is_refused_in_one_line() -> None:
    """A side between patches, and a GPU where there is none."""
    with pytest.raises(EmbstoreError, match="100 px is no multiple of the 8 px of tiny's patches"):
        loaded(Choices(input_px=100))
    with pytest.raises(EmbstoreError, match="there is no device 'tpu'; choose from: auto, cpu, cuda"):
        load(tiny(), Choices(), "tpu")
    if not torch.cuda.is_available():
        with pytest.raises(EmbstoreError, match="sees no GPU here, which --device cuda asks for; use --device cpu"):
            load(tiny(), Choices(), "cuda")


# -- batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [1, 7 * 17, pace.CPU_TOKENS])
def test_a_vector_does_not_depend_on_how_many_go_through_at_once(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, in sevens or all sixteen together, each crop alone or among others points the same way."""
    encoder, crops = loaded(Choices(pooling="cls+mean+std+max"), **MULTI), drawn_crops(16)
    together = encoder(crops)
    monkeypatch.setattr(pace.HERE, "tokens", tokens)
    alone = encoder(replace(crops, pixels=crops.pixels[:1], nucleus=crops.nucleus[:1], cell=crops.cell[:1]))
    again = encoder(crops)
    assert cosine(alone[0], together[0]) >= 0.99999
    assert min(map(cosine, again, together)) >= 0.99999


@pytest.mark.parametrize("tokens", [17, 4097])
def test_the_probe_runs_once_where_there_is_much_to_do(tokens: int) -> None:
    """It takes no more threads than there were, leaves torch's own number as it was, and finds what was tried."""
    network, before, own = loaded().network, torch.get_num_threads(), pace.Pace()
    pace.batches(network, "cpu", tokens, 1, own)
    assert not own.probed
    started = time.perf_counter()
    pace.batches(network, "cpu", tokens, pace.MUCH_TOKENS // tokens + 1, own)
    assert time.perf_counter() - started < 5  # seconds: 1 on a quiet machine
    assert own.probed
    assert own.tokens // tokens in {most // tokens for most in (pace.FEW_TOKENS, pace.CPU_TOKENS)} | {1}
    assert 1 <= (own.threads or 0) <= before
    with pace.at_pace(own):
        assert torch.get_num_threads() == own.threads
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 3, 40])
def test_a_vector_does_not_depend_on_threads(threads: int, n: int) -> None:
    """Batches side by side, or one over all threads: another order of summing is all that they change."""
    encoder, crops, before = loaded(), drawn_crops(n), torch.get_num_threads()
    result = encoder(crops)
    torch.set_num_threads(threads)
    try:
        again = encoder(crops)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert min(map(cosine, again, result)) >= 0.99999


def test_threads_that_work_side_by_side_share_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of seven threads, three batches get two each; a batch alone gets what the probe found; order is kept."""
    monkeypatch.setattr(pace.HERE, "threads", 1)
    before = torch.get_num_threads()
    parts = [slice(i, i + 1) for i in range(3)]
    torch.set_num_threads(7)
    try:
        result = pace.embedded(lambda part: (part.start, torch.get_num_threads()), parts, "cpu", 17)
        alone = pace.embedded(lambda _: torch.get_num_threads(), parts[:1], "cpu", 17)
        large = pace.embedded(lambda _: torch.get_num_threads(), parts, "cpu", pace.CPU_TOKENS + 1)
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert result == [(0, 2), (1, 2), (2, 2)]
    assert (alone, large, after) == ([1], [1, 1, 1], 7)


@pytest.mark.parametrize(("n", "sizes"), [(0, []), (1, [1]), (20, [10, 10]), (33, [8, 8, 8, 9]), (64, [16] * 4)])
def test_batches_are_alike_and_as_many_for_each_thread(
    n: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads, at most sixteen crops of 197 tokens at once."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    parts = pace.batches(loaded().network, "cpu", 197, n, pace.Pace(probed=True))
    assert [part.stop - part.start for part in parts] == sizes
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(n))


def test_memory_is_bounded_by_tokens_not_by_views() -> None:
    """A ViT-B/8 at 512 px is 4,097 tokens a field: one at a time on the CPU, sixteen on a GPU."""
    network = loaded().network
    for device, size in (("cpu", 1), ("cuda", 16)):
        parts = pace.batches(network, device, 4097, 1000, pace.Pace(probed=True))
        assert max(part.stop - part.start for part in parts) == size
