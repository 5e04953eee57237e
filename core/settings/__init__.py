"""The settings, read once from the environment; each error names the setting and the cure."""
