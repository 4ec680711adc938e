"""The server's endpoints in OpenAI's format: chat completions with attributions, and models."""
