"""The names of simulated proteins and their files: in the published forms, in ranges that nobody else uses."""

from __future__ import annotations

from embstore.phantom.v1.law import PLATE_WELLS

# a range that Ensembl has never used: an id that begins like this is simulated, whatever store it appears in
PHANTOM_ENSG = "ENSG99"
MAX_ATLAS_SEED, MAX_PROTEINS, MAX_FIELDS = 9_999, 99_999, 999  # the largest numbers that the digits of the ids allow

# OpenCell's name -> HPA's name of the same place, in the pairs of SubCell's location_group_mapping.tsv
# (there "Nuclear speckles" means OpenCell's chromatin, so OpenCell's nuclear_punctae are "Nuclear bodies")
HPA_NAMES: dict[str, str] = {
    "nucleoplasm": "Nucleoplasm",
    "nuclear_membrane": "Nuclear membrane",
    "nucleolus_gc": "Nucleoli",
    "nucleolus_fc_dfc": "Nucleoli fibrillar center",
    "nuclear_punctae": "Nuclear bodies",
    "chromatin": "Nuclear speckles",
    "cytoplasmic": "Cytosol",
    "er": "Endoplasmic reticulum",
    "golgi": "Golgi apparatus",
    "mitochondria": "Mitochondria",
    "vesicles": "Vesicles",
    "membrane": "Plasma membrane",
    "centrosome": "Centrosome",
    "cytoskeleton": "Microtubules",
    "focal_adhesions": "Focal adhesion sites",
    "cell_contact": "Cell Junctions",
    "big_aggregates": "Cytoplasmic bodies",
}
HPA_COLOURS = {"microtubules": "red", "protein": "green", "nucleus": "blue", "er": "yellow"}


def gene(seed: int, index: int) -> str:
    """Return a protein's symbol: PHN001 of seed 0, PHN001S7 of seed 7; proteins of two seeds never share one."""
    return f"PHN{index + 1:03d}" + (f"S{seed}" if seed else "")


def ensg_id(seed: int, index: int) -> str:
    """Return a protein's id in Ensembl's form: ENSG99, four digits of seed, five of number."""
    return f"{PHANTOM_ENSG}{seed:04d}{index + 1:05d}"


def opencell_key(seed: int, index: int, field: int) -> str:
    """Return `OC-FOV_<GENE>_<ENSG>_CID<6>_FID<8>_proj`, unique over one atlas."""
    name = f"{gene(seed, index)}_{ensg_id(seed, index)}"
    return f"OC-FOV_{name}_CID{index + 1:06d}_FID{field:03d}{index + 1:05d}_proj"


def hpa_key(seed: int, index: int, field: int) -> str:
    """Return `<plate>_<well>_<n>`: one protein per well, plates from 900000000, far above HPA's own."""
    plate, well = divmod(index, PLATE_WELLS)
    row, column = divmod(well, 12)
    return f"9{seed:04d}{plate:04d}_{'ABCDEFGH'[row]}{column + 1}_{field + 1}"


def image_key(layout: str, seed: int, index: int, field: int) -> str:
    """Return the key that the layout gives a field."""
    return (opencell_key if layout == "opencell" else hpa_key)(seed, index, field)
