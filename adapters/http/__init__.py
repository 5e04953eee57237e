"""HTTP to Azure OpenAI, to identity and key endpoints, and to Azure Storage."""
