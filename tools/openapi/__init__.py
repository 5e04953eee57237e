"""The description of the public API (OpenAPI 3.1), made from the models that check and answer it."""
