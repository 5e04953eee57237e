"""Where state is kept: ports, and their adapters in memory and in Azure Storage."""
