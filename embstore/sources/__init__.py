"""Where images and brought vectors come from."""
