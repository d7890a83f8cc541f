"""Tiny sizes of every family of models that `model_families.py` builds; which it cannot."""

from __future__ import annotations

from typing import Any

# Sizes by the names that configurations give them.
SIZES: dict[str, int] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embed_dim"), 64),
    "hidden_size_global": 64,
    **dict.fromkeys(("embedding_size", "word_embed_proj_dim", "d_embed", "pooler_hidden_size"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "n_kv_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_inner", "d_ff", "hidden_dim"), 96),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "dim_feedforward", "d_feedforward"), 96),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 48),
    **dict.fromkeys(("head_dim", "d_kv", "d_head", "kv_channels", "attention_head_size"), 16),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_top_k", "moe_k", "top_k_experts"), 2),
    **dict.fromkeys(("n_group", "topk_group"), 1),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim"), 16),
    **dict.fromkeys(("v_head_dim", "index_head_dim", "mamba_d_head", "mamba_d_state"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_sequence_length"), 512),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads"), 8),
    **dict.fromkeys(("state_size", "mamba_dt_rank", "time_step_rank", "mamba_n_groups"), 4),
    "first_k_dense_replace": 1,
    "qk_head_dim": 32,
    "sliding_window": 512,
    "rotary_dim": 8,
    "n_inner": 96,
    "max_relative_positions": -1,
    "num_hash_buckets": 64,
    "hidden_size_per_layer_input": 16,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
# Latent attention has no groups of heads, and heads of two parts.
_LATENT = {
    **dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "head_dim"), 16),
    "qk_head_dim": 32,
    "num_key_value_heads": 4,
}
_LINEAR_AND_FULL = ["linear_attention", "full_attention"]
_PLAIN_ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
# What a family needs beside that.
CHANGES: dict[str, dict[str, Any]] = {
    "longformer": {"attention_window": [8, 8]},
    "big_bird": {"attention_type": "original_full"},
    "bigbird_pegasus": {"attention_type": "original_full"},
    "funnel": {"block_sizes": [1, 1], "num_decoder_layers": 1, "d_head": 16},
    "gemma3n_text": {"vocab_size_per_layer_input": None, "num_kv_shared_layers": 0},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 4},
    "mamba2": {"num_heads": 8, "head_dim": 16, "n_groups": 1},
    "bamba": {"mamba_n_heads": 8, "mamba_d_head": 16, "attn_layer_indices": [1]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "led": {"attention_window": [8, 8]},
    "bailing_hybrid": {
        "layer_types": _LINEAR_AND_FULL,
        "mlp_layer_types": ["dense", "sparse"],
        "linear_head_dim": 16,
        "linear_num_heads": 4,
        "num_experts_per_token": 2,
        "num_expert_group": 1,
        "layer_group_size": 2,
        "num_nextn_predict_layers": 0,
        **_LATENT,
    },
    "blt": {"encoder_hash_byte_group_vocab": 64, "use_cache": False},
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": _PLAIN_ROPE, "sliding_attention": _PLAIN_ROPE}
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10_000.0, "clip_qkv": 8},
        "ffn_config": {
            "hidden_size": 64,
            "ffn_hidden_size": 48,
            "ffn_act_fn": {"name": "silu"},
            "moe_num_experts": 4,
            "moe_top_k": 2,
        },
    },
    "deepseek_v2": {"n_group": 1, "topk_group": 1, "num_experts_per_tok": 2, **_LATENT},
    "emu3": {"vocabulary_map": {"<image>": 3, "<|extra_200|>": 4, "<|visual token 000000|>": 5}},
    "emu3_vqgan": {
        "base_channels": 32,
        "channel_multiplier": [1, 1],
        "num_res_blocks": 1,
        "attn_resolutions": [],
    },
    "esmc": {"num_key_value_heads": 4},
    "kimi_linear": {
        "layer_types": _LINEAR_AND_FULL,
        "mlp_layer_types": ["dense", "sparse"],
        "linear_head_dim": 16,
        "linear_num_heads": 4,
        "num_experts_per_token": 2,
        **_LATENT,
    },
    "layoutlmv3": {"coordinate_size": 11, "shape_size": 10},  # 4 and 2 of them are hidden_size
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "lilt": {"hidden_size": 96},
    "lfm3": {"layer_types": ["conv", "full_attention"]},
    "dots3_note_vision_encoder": {"adapter_in_dim": 64, "adapter_out_dim": 64},
    "dots3_note_audio_encoder": {"adapter_input_size": 64, "adapter_out_dim": 64},
    "longcat_flash": {
        "ffn_hidden_size": 96,
        "expert_ffn_hidden_size": 48,
        "zero_expert_num": 2,
        "moe_topk": 2,
        **_LATENT,
    },
    "luke": {"entity_vocab_size": 16, "entity_emb_size": 16},
    "mistral4": {**_LATENT, "head_dim": 32},
    "nemotron_h": {
        "layers_block_type": ["linear_attention", "moe", "full_attention", "mlp"],
        "num_hidden_layers": 4,
        "ssm_state_size": 16,
        "n_groups": 1,
        "chunk_size": 16,
        "mamba_head_dim": 16,
        "moe_shared_expert_intermediate_size": 48,
    },
    "perceiver": {
        "num_latents": 8,
        "d_latents": 64,
        "num_self_attends_per_block": 2,
        "num_self_attention_heads": 4,
        "num_cross_attention_heads": 4,
    },
    "qwen4_exp_text": {
        "layer_types": ["linear_attention", "indexed_attention"],
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "indexer_n_heads": 4,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 64,
        "indexer_compress_ratio": 4,
        "hc_lowrank": 16,
        "ple_embed_dim": 16,
        "ngram_vocab_size_base": 512,
        "split_ngram_parts": 1,
    },
    "reformer": {
        "axial_pos_shape": [16, 32],
        "axial_pos_embds_dim": [16, 48],
        "attn_layers": ["local", "lsh"],
        "num_buckets": 4,
        "hash_seed": 0,
    },
    "xlstm": {
        "num_heads": 4,
        "embedding_dim": 64,
        "num_blocks": 2,
        "chunk_size": 16,
        "qk_dim_factor": 1.0,
    },
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "num_hidden_layers": 4,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
        "num_key_value_heads": 4,
    },
    "zamba2": {
        "layers_block_type": ["linear_attention", "hybrid"],
        "hybrid_layer_ids": [1],
        "n_mamba_heads": 8,
        "mamba_headdim": 16,
        "chunk_size": 16,
        "adapter_rank": 8,
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
        "kv_channels": 16,
        "num_key_value_heads": 4,
        "num_query_groups": 4,
    },
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 32, "layer_types": ["hybrid"] * 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "granitemoehybrid": {
        "layer_types": _LINEAR_AND_FULL,
        "shared_intermediate_size": 48,
        "position_embedding_type": "rope",
    },
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "t5": {"decoder_start_token_id": 0},
    "mt5": {"decoder_start_token_id": 0},
    "umt5": {"decoder_start_token_id": 0},
    "dots1": {
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "first_k_dense_replace": 1,
    },
    "nemotron": {"num_key_value_heads": 2},
    **{name: {"head_dim": 16} for name in ("ministral", "hunyuan_v1_dense", "hunyuan_v1_moe")},
}

# What a family needs as a causal model alone.
CAUSAL_CHANGES: dict[str, dict[str, Any]] = {
    "reformer": {"is_decoder": True},
    "xmod": {"is_decoder": True},
}
# Families that are saved whole, of which AutoModelForCausalLM loads the part for text.
WHOLE: dict[str, str] = {
    "emu3": "Emu3ForConditionalGeneration",
    "mllama": "MllamaForConditionalGeneration",
}
_CODES = "continues codes of audio, not text"
_DRAFTS = "drafts for a larger model, whose states it reads"
# What transformers' auto class does not build from a checkpoint of this family, and why.
UNBUILT: dict[str, str] = {
    "musicgen": _CODES,
    "musicgen_melody": _CODES,
    "gemma3n": "needs the library timm for its pictures; its text part, `gemma3n_text`, does not",
    "gemma4_assistant": _DRAFTS,
    "gemma4_unified_assistant": _DRAFTS,
    "layoutlmv2": "needs the library detectron2",
}
# Why a family is refused, where its name does not tell.
REASONS: dict[str, str] = UNBUILT | {
    "mra": "without its CUDA kernel it answers every text alike",
    "emu3": "AutoModelForCausalLM does not find its weights in a saved model",
}
