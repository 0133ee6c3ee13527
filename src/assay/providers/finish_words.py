"""What the word means with which a provider ends an answer.

Sources: the APIs of OpenAI, Anthropic, Gemini, Bedrock, Mistral, Cohere, watsonx, Qianfan and
Together, and those of text-generation-inference, vLLM and llama.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping

from assay.domain.completion import Finish

_WORDS: Mapping[Finish, str] = {
    "stop": (
        "stop eos eos_token stop_sequence end_turn complete normal"
        " tool_calls tool_call tool_use function_call"
    ),
    "length": (
        "length max_tokens max_output_tokens model_length token_limit model_context_window_exceeded"
    ),
    "content_filter": (
        "content_filter content_filtered guardrail_intervened error_toxic"
        " safety recitation blocklist prohibited_content spii model_armor"
    ),
    "refusal": "refusal",
}

FINISHES: Mapping[str, Finish] = {
    word: finish for finish, words in _WORDS.items() for word in words.split()
}
"""Every word after which an answer is complete, cut or withheld, in lower case.

An answer that ends in any other word, such as `error` or `abort`, was broken off.
"""
