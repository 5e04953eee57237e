"""Images under a link, and base64 read as a stream."""
