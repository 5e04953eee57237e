"""The Functions worker: its web extension, HTTP requests and responses, and queue triggers."""
