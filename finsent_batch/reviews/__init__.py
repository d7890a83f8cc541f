"""People's labels of headlines drawn for review, and the accuracy that they show."""
