"""The phantom atlas: simulated cells with known truth, in the published layouts.

A score on it shows that the machine works, not biology.
"""

from embstore.phantom.plan import LOCATIONS, PHANTOM_ENSG, PhantomProtein, plan_proteins
from embstore.phantom.write import LAYOUTS, PhantomReport, write_phantom

__all__ = ["LAYOUTS", "LOCATIONS", "PHANTOM_ENSG", "PhantomProtein", "PhantomReport", "plan_proteins", "write_phantom"]
