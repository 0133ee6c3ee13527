"""OpenAI's models on Azure's classic endpoint, where the path names the deployment.

Source: https://learn.microsoft.com/azure/ai-foundry/openai/reference
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from assay.domain.models import Model
from assay.providers.client import ProviderClient
from assay.providers.credentials import FETCH_TIMEOUT_S, Credentials, Token, import_extra
from assay.providers.http_model import HttpModel
from assay.providers.openai import OpenAI, OpenAIEmbeddings

_AUDIENCES = {"us": "cognitiveservices.azure.us", "cn": "cognitiveservices.azure.cn"}
"""What a token is for, by the last part of a host: the clouds of Azure do not trust each other."""


class Deployment(HttpModel):
    """What all deployments have in common: the name of the model is that of the deployment."""

    key_header = "api-key"

    def __init__(self, model: Model, client: ProviderClient) -> None:
        super().__init__(model, client)
        self.path = f"{quote(model.name, safe='')}/{self.path}"


class Azure(Deployment, OpenAI):
    """A deployment of a model that chats."""

    output_limit_field = "max_completion_tokens"


class AzureEmbeddings(Deployment, OpenAIEmbeddings):
    """A deployment of an embedding model."""


def entra_credentials(provider: str, url: str, _region: str) -> Credentials:
    """Tokens of Entra, as a pod, a machine or the environment has them; raises `ValueError`."""
    identity = import_extra("azure", "azure.identity")
    domain = (urlsplit(url).hostname or "").rpartition(".")[2]
    audience = _AUDIENCES.get(domain, "cognitiveservices.azure.com")

    def fetch() -> tuple[Mapping[str, str], float]:
        with identity.DefaultAzureCredential(
            connection_timeout=FETCH_TIMEOUT_S,
            read_timeout=FETCH_TIMEOUT_S,
            retry_total=1,
            # The authority comes from the operator; a closed network has no other to ask about it.
            disable_instance_discovery=True,
        ) as credential:
            token = credential.get_token(f"https://{audience}/.default")
        return {"Authorization": f"Bearer {token.token}"}, float(token.expires_on)

    return Token(provider, fetch)
