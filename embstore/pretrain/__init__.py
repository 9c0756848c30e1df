"""Self-supervised training of a backbone of one's own on cells that are in the store (DINO, arXiv 2104.14294)."""
