"""embstore: microscopy images in, per-cell embeddings in one versioned store, proteins that can be searched.

Each module has one public verb or noun of its own name: `embstore.store.Store`, `embstore.ingest.ingest`,
`embstore.query.query`, `embstore.search.similar_proteins`. Importing the package imports no engine.
"""
