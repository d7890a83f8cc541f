"""Reports: what a run or an evaluation found, as one file for a browser, a mail or a script."""
