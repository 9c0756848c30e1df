"""The phantom atlas: simulated cells with known truth, in the published layouts.

A score on it shows that the machine works, not biology.
"""

from embstore.phantom.names import gene, hpa_key, opencell_key
from embstore.phantom.versions import LATEST, VERSIONS, atlas_digest
from embstore.phantom.write import PhantomReport, write_phantom

__all__ = [
    "LATEST",
    "VERSIONS",
    "PhantomReport",
    "atlas_digest",
    "gene",
    "hpa_key",
    "opencell_key",
    "write_phantom",
]
