"""How command lines are read: global options anywhere, options in groups, those of `score`."""
