"""Which target is asked next. Pure decisions on frozen values; the clock and chance are handed in."""
