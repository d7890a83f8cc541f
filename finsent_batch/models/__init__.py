"""Models as directories: what is in one, which score it gives (fingerprint), the embedded one."""
