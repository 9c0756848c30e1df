"""Where images, labels and external embeddings come from."""
