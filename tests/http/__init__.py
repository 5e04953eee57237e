"""The contract, row by row, over HTTP."""
