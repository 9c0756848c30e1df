"""Looking after a store: verify, maintain, tag, remove, doctor."""
