"""What developers and CI run besides the app."""
