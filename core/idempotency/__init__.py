"""Answers to calls that may be repeated safely: kept under a key of the caller, and given again."""
