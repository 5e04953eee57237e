"""Speaking to Azure OpenAI: what is sent, the connection, and reading the answer into an outcome."""
