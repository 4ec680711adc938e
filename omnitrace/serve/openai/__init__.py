"""The server's endpoints in OpenAI's format: chat completions with attributions, and models."""

from omnitrace.serve.openai.routes import refusal, router

__all__ = ["refusal", "router"]
