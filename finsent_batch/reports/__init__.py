"""Pages and charts of a run or an evaluation."""
