"""phantom.v1: a frozen law. Any change of a byte in this folder is a new version (see `embstore.phantom.versions`)."""
