"""http filters: one file each, found through proxy.extensions."""
