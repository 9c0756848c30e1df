"""From images and external vectors to rows of the store; the work is what is missing."""

from embstore.ingest.cells import crops_of
from embstore.ingest.labels import add_labels, list_labels, set_labels
from embstore.ingest.plan import stored_plan
from embstore.ingest.prepare import Prepared, ahead, prepare, with_cells
from embstore.ingest.profiles import bring_vectors
from embstore.ingest.report import Report
from embstore.ingest.run import embed, ingest
from embstore.ingest.seen import Seen, set_seen
from embstore.ingest.work import Work

__all__ = [
    "Prepared",
    "Report",
    "Seen",
    "Work",
    "add_labels",
    "ahead",
    "bring_vectors",
    "crops_of",
    "embed",
    "ingest",
    "list_labels",
    "prepare",
    "set_labels",
    "set_seen",
    "stored_plan",
    "with_cells",
]
