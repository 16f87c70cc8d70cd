"""Well-known OpenAI-compatible endpoints, and in what they differ.

Standard library only: the registry reads this before any provider is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

SchemaBy = Literal["native", "tool", "json"]
ReasoningBy = Literal[
    "effort", "openrouter", "deepseek", "enable_thinking", "chat_template", "none"
]
IMAGES: Final = frozenset({"image"})
IMAGES_AND_FILES: Final = frozenset({"image", "file"})


@dataclass(frozen=True, slots=True)
class Preset:
    """A well-known endpoint.

    Attributes:
        base_url: Up to and without `/chat/completions`.
        key_needed: Whether it answers nobody without a key.
        max_tokens_field: What it calls the limit of the answer.
        schema_by: How it is asked for an answer in a form.
        reasoning_by: How it is told how much to think.
        reasoning_off_for_tool: Whether a forced call needs thinking to be off.
        echo: The field of an assistant's message with calls that has to come back.
        media: What its messages may carry: `image`, `file`.
        embeddings: Whether it has embeddings.
        embed_batch: Most texts of one call for embeddings.
        extra: Fields that go with each request that has a schema.
    """

    base_url: str
    key_needed: bool = False
    max_tokens_field: str = "max_tokens"
    schema_by: SchemaBy = "native"
    reasoning_by: ReasoningBy = "effort"
    reasoning_off_for_tool: bool = False
    echo: str = ""
    media: frozenset[str] = IMAGES
    embeddings: bool = True
    embed_batch: int = 256
    extra: Mapping[str, Mapping[str, bool]] | None = None


PRESETS: Final[Mapping[str, Preset]] = {
    # https://platform.openai.com/docs/api-reference/chat
    "openai": Preset(
        "https://api.openai.com/v1",
        key_needed=True,
        max_tokens_field="max_completion_tokens",
        media=IMAGES_AND_FILES,
        embed_batch=2048,
    ),
    # https://api-docs.deepseek.com/guides/thinking_mode: no json_schema, thinking is on unless
    # it is switched off, refuses forced calls while it thinks, and wants its reasoning back.
    "deepseek": Preset(
        "https://api.deepseek.com",
        key_needed=True,
        schema_by="tool",
        reasoning_by="deepseek",
        reasoning_off_for_tool=True,
        echo="reasoning_content",
        media=frozenset(),
        embeddings=False,
    ),
    # https://www.alibabacloud.com/help/en/model-studio/qwen-structured-output: json_schema for
    # some models only, and json_object wants the word JSON in the prompt.
    "dashscope": Preset(
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        key_needed=True,
        schema_by="tool",
        reasoning_by="enable_thinking",
        reasoning_off_for_tool=True,
        embed_batch=10,
    ),
    # https://docs.siliconflow.cn/docs/api/chat-completions-post
    "siliconflow": Preset(
        "https://api.siliconflow.cn/v1",
        key_needed=True,
        schema_by="tool",
        reasoning_by="enable_thinking",
        embed_batch=32,
    ),
    # https://openrouter.ai/docs/structured-outputs: a model has several hosts, and those that
    # know no schema would ignore it.
    "openrouter": Preset(
        "https://openrouter.ai/api/v1",
        key_needed=True,
        reasoning_by="openrouter",
        echo="reasoning_details",
        media=IMAGES_AND_FILES,
        extra={"provider": {"require_parameters": True}},
    ),
    # https://github.com/ollama/ollama/blob/main/docs/openai.md
    "ollama": Preset("http://127.0.0.1:11434/v1"),
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    "vllm": Preset("http://127.0.0.1:8000/v1", reasoning_by="chat_template"),
    # https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
    "llama.cpp": Preset("http://127.0.0.1:8080/v1", reasoning_by="chat_template"),
}

CUSTOM: Final = Preset("", reasoning_by="chat_template")
"""What is assumed of `local` and `openai-compatible`, which are wherever the settings say."""
