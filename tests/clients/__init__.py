"""The real SDKs against the running gateway."""
