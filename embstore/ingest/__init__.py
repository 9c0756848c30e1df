"""Turn images and external embeddings into rows of the store; only what is missing is computed."""

from embstore.ingest.cells import crops_of
from embstore.ingest.embedding import embed_images
from embstore.ingest.external import import_embeddings
from embstore.ingest.finished import Finished
from embstore.ingest.labels import LabelsAdded, LabelSets, add_labels, list_labels, list_labels_sql, set_labels
from embstore.ingest.prepare import Prepared
from embstore.ingest.reading import prepared_images, stored_cells
from embstore.ingest.report import Report
from embstore.ingest.run import embed, ingest
from embstore.ingest.seen import Seen, set_seen
from embstore.ingest.stored_plan import stored_plan
from embstore.ingest.work import Work

__all__ = [
    "Finished",
    "LabelSets",
    "LabelsAdded",
    "Prepared",
    "Report",
    "Seen",
    "Work",
    "add_labels",
    "crops_of",
    "embed",
    "embed_images",
    "import_embeddings",
    "ingest",
    "list_labels",
    "list_labels_sql",
    "prepared_images",
    "set_labels",
    "set_seen",
    "stored_cells",
    "stored_plan",
]
