"""The admin API: stored keys handed out, changed, metered and revoked, while the gateway runs."""
