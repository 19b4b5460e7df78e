"""The embedded tokenizer: one token a word of a closed vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<pad>", "</s>", "<unk>")  # ids 0, 1, 2 as in T5


def build_tokenizer(vocabulary: Sequence[str], length: int) -> PreTrainedTokenizerFast:
    """Splits on spaces and punctuation, appends `</s>`; `length` is what captions are padded or cut to."""
    ids = {word: i for i, word in enumerate((*SPECIAL, *vocabulary))}
    core = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", ids["</s>"])])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=length
    )
