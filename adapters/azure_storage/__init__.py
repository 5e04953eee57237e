"""Azure Table, Blob and Queue Storage behind the ports of `core.storage`."""
