"""The providers' batch APIs, each a `JobApi`: by the dialect that its calls are written in."""

from __future__ import annotations

from collections.abc import Mapping

from assay.providers.jobs.anthropic import AnthropicJobs
from assay.providers.jobs.base import Jobs
from assay.providers.jobs.gemini import GeminiJobs
from assay.providers.jobs.openai import OpenAIJobs

JOB_APIS: Mapping[str, type[Jobs]] = {
    "openai": OpenAIJobs,
    "openai_responses": OpenAIJobs,
    "anthropic": AnthropicJobs,
    "gemini": GeminiJobs,
}

__all__ = ["JOB_APIS", "Jobs"]
