"""What the time of a headline means: any type and any form of text as a moment in UTC."""
