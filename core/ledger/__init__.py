"""What calls cost: one row for each call, totals, and reports."""
