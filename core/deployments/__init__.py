"""What there is to call: deployments, their targets, and the model families as data."""
