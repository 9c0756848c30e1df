"""Self-supervised training of a backbone of your own on cells in the store (DINO, arXiv 2104.14294)."""
