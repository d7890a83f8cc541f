"""Models on disk: directories, manifests, base weights, fingerprints, precision, registry."""
