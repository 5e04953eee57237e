"""What calls cost, written down: one row for each call, totals, and reports from them."""
