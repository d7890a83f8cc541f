"""Make BERTs of two layers with random weights, as FinBERT lays one out."""

from pathlib import Path

WORDS = (
    "profit sales shares loss gain rises falls beats misses forecast bank oil nokia posts record "
    "quarter net operating eur million the of in to a and for on says deal cuts jobs"
)


def save_classifier(folder: Path) -> None:
    """Save the model with its tokenizer, whose words are `WORDS`, letters and digits."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789.,'%-")
    pieces = special + WORDS.split() + letters + [f"##{c}" for c in letters]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)
    _save_model(folder, len(vocabulary), longest=64, spread=0.6)


def save_plain_classifier(folder: Path) -> None:
    """Save one with a tokenizer of BERT's own class: what is loaded by torch alone."""
    from transformers import BertTokenizer

    letters = list("abcdefghijklmnopqrstuvwxyz0123456789.,'%-")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "profit", "rises", "falls", "posts"]
    pieces += [*letters, *(f"##{c}" for c in letters)]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    BertTokenizer(vocab=vocabulary, model_max_length=128).save_pretrained(folder)
    _save_model(folder, len(vocabulary), longest=128, spread=0.3)


def _save_model(folder: Path, vocabulary: int, *, longest: int, spread: float) -> None:
    """Save a BERT of two layers, whose random weights are spread so far."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=longest,
        id2label={0: "positive", 1: "negative", 2: "neutral"},
        label2id={"positive": 0, "negative": 1, "neutral": 2},
        initializer_range=spread,
    )
    BertForSequenceClassification(config).eval().save_pretrained(folder)
