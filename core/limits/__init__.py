"""What a caller may spend: limits, budgets, prices, the ledger."""
