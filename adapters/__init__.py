"""Everything that touches the world: the Functions host, HTTP, Azure Storage. Each stands behind a port of core."""
