"""`python -m finsent_batch`: the command, where it is not on the path."""

from finsent_batch.jobs.start import main  # type: ignore[import-not-found]

if __name__ == "__main__":
    main()
