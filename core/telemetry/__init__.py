"""What the gateway tells about its work: the line of a call."""
