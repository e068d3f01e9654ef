"""The models of the published sheets: config.json as their authors publish it, in short."""

LLAMA = {"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "rms_norm_eps": 1e-05,
         "torch_dtype": "bfloat16"}
LLAMA3 = {**LLAMA, "bos_token_id": 128000, "eos_token_id": 128001, "num_key_value_heads": 8,
          "max_position_embeddings": 131072, "rope_theta": 500000.0, "vocab_size": 128256}


def llama3_scaling(factor):
    return {"factor": factor, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"}


CONFIGS = {
    "Llama-3.2-1B": {**LLAMA3, "head_dim": 64, "hidden_size": 2048, "intermediate_size": 8192,
                     "num_attention_heads": 32, "num_hidden_layers": 16,
                     "rope_scaling": llama3_scaling(32.0), "tie_word_embeddings": True},
    "Meta-Llama-3.1-8B": {**LLAMA3, "head_dim": 128, "hidden_size": 4096,
                          "intermediate_size": 14336, "num_attention_heads": 32,
                          "num_hidden_layers": 32, "rope_scaling": llama3_scaling(8.0),
                          "tie_word_embeddings": False},
    "llama-2-7b": {**LLAMA, "bos_token_id": 1, "eos_token_id": 2, "hidden_size": 4096,
                   "intermediate_size": 11008, "max_position_embeddings": 4096,
                   "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
                   "tie_word_embeddings": False, "vocab_size": 32000},
    "opt-6.7b": {"architectures": ["OPTForCausalLM"], "activation_function": "relu",
                 "bos_token_id": 2, "do_layer_norm_before": True, "eos_token_id": 2,
                 "ffn_dim": 16384, "hidden_size": 4096, "max_position_embeddings": 2048,
                 "num_attention_heads": 32, "num_hidden_layers": 32, "pad_token_id": 1,
                 "torch_dtype": "float16", "vocab_size": 50272, "word_embed_proj_dim": 4096},
    "Qwen1.5-7B": {"architectures": ["Qwen2ForCausalLM"], "bos_token_id": 151643,
                   "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 4096,
                   "intermediate_size": 11008, "max_position_embeddings": 32768,
                   "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
                   "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "tie_word_embeddings": False,
                   "torch_dtype": "bfloat16", "vocab_size": 151936},
}
TOKENIZERS = {"Llama-3.2-1B": "llama3", "Meta-Llama-3.1-8B": "llama3", "llama-2-7b": "llama2",
              "opt-6.7b": "opt", "Qwen1.5-7B": "qwen2"}
# The name that a published line gives after --model_name.
NAMES = {"Llama-3.2-1B": "nltpt/Llama-3.2-1B", "opt-6.7b": "facebook/opt-6.7b",
         "Meta-Llama-3.1-8B": "NousResearch/Meta-Llama-3.1-8B", "llama-2-7b": "llama-2-7b",
         "Qwen1.5-7B": "Qwen/Qwen1.5-7B"}
