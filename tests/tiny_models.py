"""Tiny models of real classes, saved as folders: an image-text model (LLaVA) and a language model (Llama)."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

SIDE, PATCH = 16, 8  # of the picture the vision tower sees
SPECIAL = ["<pad>", "<s>", "</s>", "<image>"]
WORDS = ["forest", "water", "north", "covers", "fields", "and", "a", "little"]
HALF_LETTER = "Ã"  # in byte-level alphabets: the first of the two bytes of é
TEMPLATE = (
    "{% for m in messages %}<s>{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %}"
    "{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer: every byte, and a few whole words that a random model can say."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*SPECIAL, *("Ġ" + word for word in WORDS), *alphabet]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip


def _text_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=2048,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, tie_word_embeddings=False,
    )  # fmt: skip


def _sayable(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, more: tuple[str, ...]) -> None:
    """Forbid all but words, end and ``more``, and the end at the start, through the model's generation settings."""
    said = ["</s>", *("Ġ" + word for word in WORDS), *more]
    allowed = set(tokenizer.convert_tokens_to_ids(said))
    model.generation_config.suppress_tokens = [i for i in range(len(tokenizer)) if i not in allowed]
    model.generation_config.begin_suppress_tokens = [tokenizer.eos_token_id]


def make_language_model(folder: Path, more: tuple[str, ...] = ()) -> Path:
    """Save a one-layer Llama with its tokenizer; it says ``WORDS`` and ``more``."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    model = LlamaForCausalLM(_text_config(tokenizer))
    _sayable(model, tokenizer, more)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_image_model(
    folder: Path, more: tuple[str, ...] = (), template: bool = True, sharp: float = 1.0
) -> Path:
    """Save a small LLaVA with its processor; it says ``WORDS`` and ``more``.

    ``template`` gives it a kind of conversation; ``sharp`` multiplies its last layer, and so its certainty.
    """
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
    )
    config = LlavaConfig(
        vision_config=vision, text_config=_text_config(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), image_seq_length=(SIDE // PATCH) ** 2,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        model.lm_head.weight *= sharp
    _sayable(model, tokenizer, more)
    model.save_pretrained(folder)
    pictures = CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, do_center_crop=True
    )
    LlavaProcessor(
        pictures, tokenizer, patch_size=PATCH, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=TEMPLATE if template else None,
    ).save_pretrained(folder)  # fmt: skip
    return folder
