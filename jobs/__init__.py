"""Command-line jobs: each file parses its options, calls one library function and prints."""
