"""The location names behind the indices of the two Human Protein Atlas competitions on Kaggle.

Published at https://www.kaggle.com/competitions/human-protein-atlas-image-classification (2018, 28 classes) and
https://www.kaggle.com/competitions/hpa-single-cell-image-classification (2021, 19 classes), by index.
"""

from __future__ import annotations

KAGGLE_2018_SCHEME = "28"
# HPA's spelling -> the one that embstore 0.1 gave labels of that scheme, which their label sets keep
KAGGLE_2018_BEFORE = {"Cell Junctions": "Cell junctions", "Rods & Rings": "Rods & rings"}
KAGGLE_2018 = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nuclear speckles",
    "Nuclear bodies",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Peroxisomes",
    "Endosomes",
    "Lysosomes",
    "Intermediate filaments",
    "Actin filaments",
    "Focal adhesion sites",
    "Microtubules",
    "Microtubule ends",
    "Cytokinetic bridge",
    "Mitotic spindle",
    "Microtubule organizing center",
    "Centrosome",
    "Lipid droplets",
    "Plasma membrane",
    "Cell Junctions",
    "Mitochondria",
    "Aggresome",
    "Cytosol",
    "Cytoplasmic bodies",
    "Rods & Rings",
)

KAGGLE_2021 = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nuclear speckles",
    "Nuclear bodies",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Intermediate filaments",
    "Actin filaments",
    "Microtubules",
    "Mitotic spindle",
    "Centrosome",
    "Plasma membrane",
    "Mitochondria",
    "Aggresome",
    "Cytosol",
    "Vesicles and punctate cytosolic patterns",
    "Negative",
)
