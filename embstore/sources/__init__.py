"""Read images, labels and external embeddings from files and folders."""
