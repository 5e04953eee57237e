"""The command line of a running gateway: hand out keys, change and revoke them, read what was spent, mint tokens.

It speaks the gateway's admin API over HTTP and knows nothing of what stands behind it.
"""
