"""Which proteins there are: where each sits, how it shows, and what its published label says."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from embstore.phantom.v1 import law


@dataclass(frozen=True)
class Look:
    """How one protein's structures at one location differ from another's: factors near 1, and two coordinates."""

    size: float
    crowd: float
    kind: float  # in [0, 1): which of a location's looks
    spread: float  # in [0, 1): compact or dispersed, thin or dense


@dataclass(frozen=True)
class Protein:
    """One simulated protein; `index` is its place in the atlas of `seed`.

    `shares` is location -> share of the pattern light (they sum to 1, the main one is first), `published` what the
    labels say: location -> grade, wrong for one protein in twenty (`wrong`).
    """

    seed: int
    index: int
    shares: dict[str, float]
    published: dict[str, int]
    wrong: bool
    line: int  # a number to choose a cell line by
    expression: float  # brightness against the atlas's median
    haze: float  # light that is spread over the whole cell
    looks: dict[str, Look] = field(default_factory=dict)

    @property
    def grades(self) -> dict[str, int]:
        """Return the true grades, location -> 3, 2 or 1."""
        return {location: g for location, share in self.shares.items() if (g := law.grade(share))}


def plan_proteins(count: int, seed: int, start: int = 0) -> list[Protein]:
    """Return proteins `start` to `start + count` of a seed; a larger atlas of the same seed begins with the smaller."""
    blocks = range(start // law.BLOCK, -(-(start + count) // law.BLOCK))
    mains = [main for block in blocks for main in _mains(seed, block)]
    skipped = blocks.start * law.BLOCK
    return [_protein(seed, index, mains[index - skipped]) for index in range(start, start + count)]


def _mains(seed: int, block: int) -> list[str]:
    """Return the main locations of a block of proteins: every location as often as the law says, shuffled."""
    rng = law.random(law.STREAM_PLAN, seed, block)
    names = [name for name, number in law.PER_BLOCK.items() for _ in range(number)]
    return [names[i] for i in rng.permutation(len(names))]


def _protein(seed: int, index: int, main: str) -> Protein:
    rng = law.random(law.STREAM_PROTEIN, seed, index)
    shares = _shares(rng, main)
    grades = {location: g for location, share in shares.items() if (g := law.grade(share))}
    wrong = bool(rng.random() < law.WRONG_LABELS)
    return Protein(
        seed=seed,
        index=index,
        shares=shares,
        published=_mistaken(rng, grades) if wrong else grades,
        wrong=wrong,
        line=int(rng.integers(1 << 16)),
        expression=float(rng.lognormal(0, law.EXPRESSION_SD)),
        haze=float(rng.uniform(*law.HAZE)),
        looks={location: _look(rng) for location in shares},
    )


def _shares(rng: np.random.Generator, main: str) -> dict[str, float]:
    """Return how the light is shared: a stick is broken once for each further location, the rest is the main one's."""
    further = int(rng.choice(len(law.N_LOCATIONS), p=law.N_LOCATIONS))
    others = [name for name in law.LOCATIONS if name != main]
    weights = np.array([law.FURTHER[name] for name in others])
    chosen = rng.choice(others, further, replace=False, p=weights / weights.sum())
    rest, shares = 1.0, {main: 0.0}
    for name in chosen:
        part = rest * float(rng.uniform(0.06, 0.45))
        shares[str(name)] = part
        rest -= part
    return shares | {main: rest}


def _mistaken(rng: np.random.Generator, grades: dict[str, int]) -> dict[str, int]:
    """Return labels in which one location, at its own grade, is taken for another."""
    changed = list(grades)[int(rng.integers(len(grades)))]
    options = [name for name in law.MISTAKEN[changed] if name not in grades]
    if not options:
        return {name: g for name, g in grades.items() if name != changed}
    written = options[int(rng.integers(len(options)))]
    return {written if name == changed else name: g for name, g in grades.items()}


def _look(rng: np.random.Generator) -> Look:
    return Look(
        size=float(np.exp(np.clip(rng.normal(0, law.SIZE_SD), -0.5, 0.5))),
        crowd=float(np.exp(np.clip(rng.normal(0, law.CROWD_SD), -0.9, 0.9))),
        kind=float(rng.random()),
        spread=float(rng.random()),
    )
