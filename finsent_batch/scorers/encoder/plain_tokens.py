"""BERT's WordPiece tokenizer, known by its files, so that `tokenizers` alone can read it.

transformers makes `BertTokenizer` from a vocabulary and a few settings. Where
`tokenizer.json` says just that, and the settings beside it nothing else, both give the same
ids, and transformers need not be imported.
"""

from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer

from ...errors import FinsentError
from ...models.reading import read_json

_SPECIAL: Final = {
    "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}  # fmt: skip
_SETTINGS: Final = {
    **_SPECIAL, "truncation_side": "right", "never_split": None, "do_basic_tokenize": True,
    "split_special_tokens": False,
}  # fmt: skip
"""What a setting must be where it is given."""
_CLASSES: Final = ("BertTokenizer", "BertTokenizerFast")
_NORMALIZER: Final = {
    "do_lower_case": ("lowercase", True), "strip_accents": ("strip_accents", None),
    "tokenize_chinese_chars": ("handle_chinese_chars", True),
}  # fmt: skip
"""The normalizer's names of settings, and what they are if not given."""
_IDLE: Final = frozenset((
    "tokenizer_class", "name_or_path", "backend", "is_local", "local_files_only", "max_length",
    "model_max_length", "pad_to_multiple_of", "pad_token_type_id", "padding_side", "stride",
    "truncation_strategy", "clean_up_tokenization_spaces",
))  # fmt: skip
"""Settings that change no id of a text alone that is cut by whoever encodes it."""
_OTHER_FILES: Final = ("added_tokens.json", "chat_template.jinja")


def plain_tokenizer(folder: Path) -> Any:
    """Return a folder's tokenizer if it is BERT's and nothing else, without padding; or None."""
    file = folder / "tokenizer.json"
    if not file.is_file() or any((folder / name).exists() for name in _OTHER_FILES):
        return None
    try:
        found, settings = read_json(file), read_json(folder / "tokenizer_config.json")
    except FinsentError:
        return None  # transformers says what is wrong
    if not (_plain_settings(settings) and _plain_file(found, settings)):
        return None
    if not _plain_neighbours(folder, found["model"]["vocab"]):
        return None
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    return tokenizer


def _plain_settings(settings: dict[str, Any]) -> bool:
    known = {*_SETTINGS, *_NORMALIZER, *_IDLE}
    return (
        settings.get("tokenizer_class") in _CLASSES
        and settings.keys() <= known
        and all(settings.get(name, value) == value for name, value in _SETTINGS.items())
    )


def _plain_file(found: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Compare `tokenizer.json` with what `BertTokenizer` makes of its vocabulary."""
    model = found.get("model")
    if not isinstance(model, dict):
        return False
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, dict) or not vocabulary.keys() >= {*_SPECIAL.values()}:
        return False
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        return False
    held = {name: value for name, value in found.items() if name not in _UNREAD}
    held["model"] = {name: value for name, value in model.items() if name != "vocab"}
    return held == _expected(vocabulary, settings)


_UNREAD: Final = ("version", "truncation", "padding", "decoder")


def _expected(vocabulary: dict[str, int], settings: dict[str, Any]) -> dict[str, Any]:
    normalizer = {own: settings.get(name, usual) for name, (own, usual) in _NORMALIZER.items()}
    added = sorted((vocabulary[token], token) for token in _SPECIAL.values())
    begin, end = ({"SpecialToken": {"id": t, "type_id": 0}} for t in ("[CLS]", "[SEP]"))
    first, second = ({"Sequence": {"id": s, "type_id": i}} for i, s in enumerate("AB"))
    return {
        "added_tokens": [
            {"id": number, "content": token, "special": True}
            | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            for number, token in added
        ],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, **normalizer},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, first, end],
            "pair": [begin, first, end, second, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {
                token: {"id": token, "ids": [vocabulary[token]], "tokens": [token]}
                for token in ("[CLS]", "[SEP]")
            },
        },
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        },
    }


def _plain_neighbours(folder: Path, vocabulary: dict[str, int]) -> bool:
    """Compare what older files say again beside `tokenizer.json`."""
    special, words = folder / "special_tokens_map.json", folder / "vocab.txt"
    try:
        if special.exists() and read_json(special) != _SPECIAL:
            return False
        if words.exists():
            lines = words.read_text("utf-8").removesuffix("\n").split("\n")
            return {word: i for i, word in enumerate(lines)} == vocabulary
    except (FinsentError, UnicodeDecodeError):
        return False
    return True
