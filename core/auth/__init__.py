"""Who calls: a credential from the headers, checked, becomes a Caller."""
