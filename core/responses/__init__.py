"""Answering: JSON, or server-sent events with keep-alives."""
