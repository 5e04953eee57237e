"""What the gateway costs, beside others: `make bench` measures, `python -m bench.page` writes it down again."""
