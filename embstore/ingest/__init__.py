"""From images and external embeddings to rows of the store; the work is what is missing."""

from embstore.ingest.cells import crops_of
from embstore.ingest.embedding import embed_images
from embstore.ingest.finished import Finished
from embstore.ingest.labels import add_labels, list_labels, set_labels
from embstore.ingest.prepare import Prepared
from embstore.ingest.profiles import bring_vectors
from embstore.ingest.reading import prepared_images, stored_cells
from embstore.ingest.report import Report
from embstore.ingest.run import embed, ingest
from embstore.ingest.seen import Seen, set_seen
from embstore.ingest.stored_plan import stored_plan
from embstore.ingest.work import Work

__all__ = [
    "Finished",
    "Prepared",
    "Report",
    "Seen",
    "Work",
    "add_labels",
    "bring_vectors",
    "crops_of",
    "embed",
    "embed_images",
    "ingest",
    "list_labels",
    "prepared_images",
    "set_labels",
    "set_seen",
    "stored_cells",
    "stored_plan",
]
