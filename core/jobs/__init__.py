"""Jobs: generations that are requested now and run later, by HTTP or by a queue message."""
