"""Stand-in: what `generate` must hold to for any model, in checks of our own.

The names are those of the suite's own tests, so that a skip names the same behavior with either; with a full checkout
these are not used.
"""

import copy
import inspect

import pytest
import torch
from parameterized import parameterized
from transformers import Cache, EncoderDecoderCache, set_seed
from transformers.cache_utils import DynamicCache, LinearAttentionLayer, StaticCache
from transformers.generation import CompileConfig
from transformers.testing_utils import set_config_for_less_flaky_test, set_model_for_less_flaky_test, torch_device


NEW_TOKENS = 3
# No token ends a row: lengths are known beforehand, and a continuation never starts behind an end.
ENDLESS = {"eos_token_id": -1, "pad_token_id": -1}
RETURN_ALL = {
    "return_dict_in_generate": True,
    "output_scores": True,
    "output_logits": True,
    "output_hidden_states": True,
}


class GenerationTesterMixin:
    """
    Expects `all_generative_model_classes`, `has_attentions` and a `model_tester` as `ModelTesterMixin` has them.

    A family whose cache holds something else than keys and values overrides `_check_past_key_values_for_generate` and
    `_check_caches_are_equal`, as in the suite.
    """

    def prepare_config_and_inputs_for_generate(self, batch_size=2):
        """A configuration in which nothing ends a row, and the inputs that `generate` takes."""
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        config.get_text_config(decoder=True).eos_token_id = None
        unwanted = ("decoder_input_ids", "decoder_attention_mask", "use_cache", "labels")
        inputs = {
            name: value[:batch_size] if torch.is_tensor(value) else value
            for name, value in inputs.items()
            if name not in unwanted
        }
        return config, inputs

    def _models(self, batch_size=2, decoder_only=False):
        for model_class in self.all_generative_model_classes:
            set_seed(42)
            config, inputs = self.prepare_config_and_inputs_for_generate(batch_size)
            if decoder_only and config.is_encoder_decoder:
                self.skipTest("This is about models that are a decoder alone.")
            set_config_for_less_flaky_test(config)
            if self.has_attentions:
                config._attn_implementation = "eager"
            model = model_class(config).to(torch_device).eval()
            set_model_for_less_flaky_test(model)
            yield model, inputs

    def _expected_length(self, model, inputs, new_tokens=NEW_TOKENS):
        return new_tokens + (1 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1])

    @staticmethod
    def _padded_on_the_left(inputs):
        # What is to be continued may not have holes: many models number their positions as if there were none.
        if "attention_mask" in inputs:
            mask = torch.ones_like(inputs["attention_mask"])
            mask[0, :1] = 0
            mask[1:, :2] = 0
            inputs = {**inputs, "attention_mask": mask}
        return inputs

    def assert_same_generation(self, first, second, atol=1e-5):
        """The same tokens; where two differ, their scores must have been as good as equal."""
        unequal = (first.sequences != second.sequences).nonzero().tolist()
        prompt = first.sequences.shape[1] - len(first.scores)
        for row in {row for row, _ in unequal}:
            step = min(column for other, column in unequal if other == row) - prompt
            torch.testing.assert_close(first.scores[step][row], second.scores[step][row], atol=atol, rtol=atol)

    # Strategies

    def _check_strategy(self, use_cache, rows=1, **settings):
        for model, inputs in self._models():
            set_seed(0)
            plain = model.generate(**inputs, max_new_tokens=NEW_TOKENS, **settings)
            assert plain.shape[1] == self._expected_length(model, inputs)
            set_seed(0)
            output = model.generate(
                **inputs,
                max_new_tokens=NEW_TOKENS,
                use_cache=use_cache,
                output_attentions=self.has_attentions,
                repetition_penalty=1.2,
                bad_words_ids=[[1, 0]],
                remove_invalid_values=True,
                **RETURN_ALL,
                **settings,
            )
            self._check_generate_outputs(output, model, inputs, use_cache, rows)

    def _check_generate_outputs(self, output, model, inputs, use_cache, rows):
        config = model.config.get_text_config(decoder=True)
        batch_size = inputs[model.main_input_name].shape[0] * rows
        length = self._expected_length(model, inputs)
        assert output.sequences.shape[1] == length
        for step in (*output.scores, *output.logits):
            assert tuple(step.shape) == (batch_size, config.vocab_size)
        is_seq2seq = model.config.is_encoder_decoder
        hidden_states = output.decoder_hidden_states if is_seq2seq else output.hidden_states
        for step, states in enumerate(hidden_states):
            read = 1 if use_cache and step > 0 else length - NEW_TOKENS + step
            for state in states:
                assert tuple(state.shape[:2]) == (batch_size, read)
        if use_cache:
            self._check_past_key_values_for_generate(batch_size, output.cache, length - 1, config)
        else:
            assert output.cache is None

    def test_greedy_generate(self):
        self._check_strategy(use_cache=False, do_sample=False)

    def test_greedy_generate_dict_outputs_use_cache(self):
        self._check_strategy(use_cache=True, do_sample=False)

    def test_sample_generate(self):
        sampling = {"do_sample": True, "num_return_sequences": 2, "top_k": 10, "top_p": 0.7, "temperature": 0.7}
        self._check_strategy(use_cache=False, rows=2, **sampling)

    def test_beam_search_generate(self):
        self._check_strategy(use_cache=False, rows=2, do_sample=False, num_beams=2, length_penalty=2.0)

    def test_beam_search_generate_dict_outputs_use_cache(self):
        self._check_strategy(use_cache=True, rows=2, do_sample=False, num_beams=2, length_penalty=2.0)

    def test_beam_sample_generate(self):
        self._check_strategy(use_cache=False, rows=2, do_sample=True, num_beams=2, top_k=10, temperature=0.7)

    def test_generate_without_input_ids(self):
        for model, _ in self._models(decoder_only=True):
            if model.config.bos_token_id is None:
                self.skipTest("Without a bos_token_id there is nothing to begin with.")
            output = model.generate(do_sample=False, max_new_tokens=NEW_TOKENS)
            assert tuple(output.shape) == (1, 1 + NEW_TOKENS)

    @parameterized.expand([("greedy", 1), ("beams", 4)])
    def test_cached_generation_equals_uncached(self, name, num_beams):
        for model, inputs in self._models():
            settings = {"max_new_tokens": 8, "num_beams": num_beams, "do_sample": False, **ENDLESS}
            cached = model.generate(**inputs, use_cache=True, **settings)
            assert cached.tolist() == model.generate(**inputs, use_cache=False, **settings).tolist()

    # Beginnings and continuations

    @parameterized.expand([("greedy", 1), ("beam_search", 2)])
    def test_generate_from_inputs_embeds(self, name, num_beams):
        for model, inputs in self._models(decoder_only=True):
            settings = {"num_beams": num_beams, "do_sample": False, "max_new_tokens": 5, "min_new_tokens": 5}
            settings |= {"return_dict_in_generate": True, "output_scores": True}
            ids = inputs.pop("input_ids")
            embeds = model.get_input_embeddings()(ids)
            from_ids = model.generate(ids, **inputs, **settings)
            both = model.generate(ids, inputs_embeds=embeds, **inputs, **settings)
            self.assert_same_generation(from_ids, both)
            if "attention_mask" in inputs:  # without it, ids and vectors may be masked differently
                alone = model.generate(inputs_embeds=embeds, **inputs, **settings)
                both.sequences = both.sequences[:, ids.shape[1] :]
                self.assert_same_generation(both, alone)

    def test_generate_from_random_inputs_embeds(self):
        for model, inputs in self._models(decoder_only=True):
            settings = {"do_sample": False, "max_new_tokens": 5, "min_new_tokens": 5}
            settings |= {"return_dict_in_generate": True, "output_scores": True}
            ids = inputs["input_ids"]
            embeds = model.get_input_embeddings()(ids)
            # Without a mask: behind a prompt that ends in padding, models may answer anything.
            ours = model.generate(ids, inputs_embeds=embeds, **settings)
            other = model.generate(ids, inputs_embeds=torch.rand_like(embeds), **settings)
            for step, other_step in zip(ours.scores, other.scores, strict=True):
                assert not torch.allclose(step, other_step)

    def test_generate_continue_from_past_key_values(self):
        for model_class in self.all_generative_model_classes:
            set_seed(42)
            config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
            inputs = self._padded_on_the_left(inputs)
            model = model_class(config).to(torch_device).eval()
            is_seq2seq = config.is_encoder_decoder
            ids_name, mask_name = (
                ("decoder_input_ids", "decoder_attention_mask") if is_seq2seq else ("input_ids", "attention_mask")
            )
            settings = {"do_sample": False, "return_dict_in_generate": True, "output_scores": True, **ENDLESS}
            whole = model.generate(**inputs, max_new_tokens=4, **settings)
            begun = model.generate(**inputs, max_new_tokens=3, **settings)
            inputs[ids_name] = begun.sequences
            if mask_name in inputs:
                new = begun.sequences.shape[1] - inputs[mask_name].shape[1]
                inputs[mask_name] = torch.nn.functional.pad(inputs[mask_name], (0, new), value=1)
            continued = model.generate(**inputs, cache=begun.cache, max_new_tokens=1, **settings)
            continued.scores = begun.scores + continued.scores
            self.assert_same_generation(whole, continued)
            self._check_caches_are_equal(whole.cache, continued.cache)

    def test_generate_continue_from_inputs_embeds(self):
        for model, inputs in self._models(decoder_only=True):
            settings = {"do_sample": False, "return_dict_in_generate": True, **ENDLESS}
            embed = model.get_input_embeddings()
            embeds = embed(inputs["input_ids"])
            whole = model.generate(inputs_embeds=embeds, max_new_tokens=4, **settings)
            begun = model.generate(inputs_embeds=embeds, max_new_tokens=3, **settings)
            embeds = torch.cat([embeds, embed(begun.sequences)], dim=1)
            continued = model.generate(inputs_embeds=embeds, cache=begun.cache, max_new_tokens=1, **settings)
            together = torch.cat([begun.sequences, continued.sequences], dim=1)
            assert whole.sequences.tolist() == together.tolist()
            self._check_caches_are_equal(whole.cache, continued.cache)

    def test_generate_can_restart_from_cache_and_new_tokens_only(self):
        for model, inputs in self._models(decoder_only=True):
            settings = {"do_sample": False, "return_dict_in_generate": True, "output_scores": True, **ENDLESS}
            inputs = self._padded_on_the_left(inputs)
            mask = inputs.setdefault("attention_mask", torch.ones_like(inputs["input_ids"]))
            whole = model.generate(**inputs, max_new_tokens=4, **settings)
            begun = model.generate(**inputs, max_new_tokens=2, **settings)
            mask = torch.cat([mask, mask.new_ones(mask.shape[0], 2)], dim=1)
            restarted = model.generate(
                begun.sequences[:, -1:],
                attention_mask=mask,
                cache=copy.deepcopy(begun.cache),
                max_new_tokens=2,
                **settings,
            )
            assert whole.sequences[:, -2:].tolist() == restarted.sequences[:, -2:].tolist()
            self._check_caches_are_equal(whole.cache, restarted.cache)

    def test_left_padding_compatibility(self):
        for model, inputs in self._models(decoder_only=True):
            ids = inputs["input_ids"]
            mask = inputs.get("attention_mask", torch.ones_like(ids))
            pad = ids.new_zeros(ids.shape[0], 32)
            padded = model(torch.cat([pad, ids], 1), attention_mask=torch.cat([pad, mask], 1)).logits[:, -1]
            unpadded = model(ids, attention_mask=mask).logits[:, -1]
            torch.testing.assert_close(padded, unpadded, atol=1e-5, rtol=1e-5)

    def test_generate_with_and_without_position_ids(self):
        for model, inputs in self._models(decoder_only=True):
            if "position_ids" not in inspect.signature(model.forward).parameters:
                self.skipTest("This model does not take position_ids.")
            mask = torch.ones_like(inputs["input_ids"])
            mask[0, :2] = 0
            inputs["attention_mask"] = mask
            settings = {"max_new_tokens": 5, "do_sample": False}
            positions = (mask.cumsum(-1) - 1).masked_fill(mask == 0, 0)
            counted = model.generate(**inputs, **settings)
            assert counted.tolist() == model.generate(**inputs, position_ids=positions, **settings).tolist()

    # Assisted decoding

    def test_assisted_decoding_matches_greedy_search(self):
        self._check_speculation(lambda model: {"assistant_model": model})

    def test_prompt_lookup_decoding_matches_greedy_search(self):
        self._check_speculation(lambda model: {"prompt_lookup_num_tokens": 2})

    def _check_speculation(self, speculation):
        for model, inputs in self._models(batch_size=1):
            if model._is_stateful:
                self.skipTest("A state cannot be taken back by the tokens that are rejected.")
            model.generation_config.num_assistant_tokens = 2
            settings = {"do_sample": False, "max_new_tokens": 4, **ENDLESS, **RETURN_ALL}
            greedy = model.generate(**inputs, **settings)
            self.assert_same_generation(greedy, model.generate(**inputs, **settings, **speculation(model)))

    # Caches and compilation

    def test_past_key_values_format(self):
        for model_class in self.all_generative_model_classes:
            config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
            model = model_class(config).to(torch_device).eval()
            outputs = model(**{**inputs, "use_cache": True})
            read = inputs["decoder_input_ids" if config.is_encoder_decoder else "input_ids"]
            text_config = config.get_text_config(decoder=True)
            self._check_past_key_values_for_generate(*read.shape[:1], outputs.cache, read.shape[1], text_config)

    @parameterized.expand([("ids", False, torch.float32), ("ids_half", False, torch.float16), ("embeds", True, None)])
    def test_generate_with_static_cache(self, name, from_embeds, dtype):
        for model, inputs in self._models(decoder_only=True):
            if not model._can_compile_fullgraph:
                self.skipTest("This model has no static cache.")
            model = model.to(dtype or torch.float32)
            length = inputs["input_ids"].shape[1] + 10 - 1  # the last token is not read
            if from_embeds:
                inputs["inputs_embeds"] = model.get_input_embeddings()(inputs.pop("input_ids"))
            settings = {"max_new_tokens": 10, "return_dict_in_generate": True, "output_scores": True, **ENDLESS}
            static = model.generate(**inputs, cache_implementation="static", **settings)
            assert isinstance(static.cache, StaticCache)
            self._check_past_key_values_for_generate(
                static.sequences.shape[0], static.cache, length, model.config.get_text_config(decoder=True)
            )
            self.assert_same_generation(static, model.generate(**inputs, **settings))

    @pytest.mark.torch_compile_test
    def test_generate_compile_model_forward_fullgraph(self):
        for model, inputs in self._models(batch_size=4):
            if not model._can_compile_fullgraph:
                self.skipTest("This model cannot be compiled into one graph.")
            torch.compiler.reset()
            compile_config = CompileConfig(fullgraph=True, dynamic=False)
            compile_config._compile_all_devices = True  # not on accelerators alone
            settings = {"do_sample": False, "max_new_tokens": 5, "return_dict_in_generate": True}
            settings |= {"output_scores": True, **ENDLESS}
            halves = [{name: value[:2] for name, value in inputs.items()}]
            halves += [{name: value[2:4] for name, value in inputs.items()}]

            eager = [model.generate(**half, **settings) for half in halves]
            for output in eager:
                cache = self._decoder_cache(output.cache)
                assert isinstance(cache, DynamicCache)
                assert not cache.is_compileable
            assert not hasattr(model, "_compiled_call")

            settings |= {"cache_implementation": "static", "compile_config": compile_config}
            compiled = [model.generate(**halves[0], **settings)]
            with torch.compiler.set_stance("fail_on_recompile"):
                compiled += [model.generate(**halves[1], **settings)]
            for output, expected in zip(compiled, eager, strict=True):
                cache = self._decoder_cache(output.cache)
                assert not isinstance(cache, DynamicCache)
                assert cache.is_compileable
                self.assert_same_generation(output, expected)
            assert hasattr(model, "_compiled_call")

    @pytest.mark.torch_compile_test
    def test_generate_compilation_all_outputs(self):
        for model, inputs in self._models():
            if not model._can_compile_fullgraph:
                self.skipTest("This model cannot be compiled into one graph.")
            torch.compiler.reset()
            compile_config = CompileConfig()
            compile_config._compile_all_devices = True
            settings = {"cache_implementation": "static", "compile_config": compile_config, "do_sample": False}
            output = model.generate(
                **inputs, max_new_tokens=NEW_TOKENS, output_attentions=True, **RETURN_ALL, **settings
            )
            assert hasattr(model, "_compiled_call")
            self._check_generate_outputs(output, model, inputs, use_cache=True, rows=1)

    @staticmethod
    def _decoder_cache(cache):
        return cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache

    def _check_past_key_values_for_generate(self, batch_size, cache, seq_length, config):
        assert isinstance(cache, Cache)
        cache = self._decoder_cache(cache)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        assert len(cache) == config.num_hidden_layers
        for layer in cache.layers:
            for states in (layer.keys, layer.values):
                assert tuple(states.shape) == (batch_size, heads, seq_length, head_dim)

    def _check_caches_are_equal(self, cache1, cache2):
        if isinstance(cache1, EncoderDecoderCache):
            self._check_caches_are_equal(cache1.cross_attention_cache, cache2.cross_attention_cache)
        cache1, cache2 = self._decoder_cache(cache1), self._decoder_cache(cache2)
        assert len(cache1) == len(cache2)
        for layer1, layer2 in zip(cache1.layers, cache2.layers, strict=True):
            assert type(layer1) is type(layer2)
            is_linear = type(layer1) is LinearAttentionLayer
            for name in ("conv_states", "recurrent_states") if is_linear else ("keys", "values"):
                torch.testing.assert_close(getattr(layer1, name), getattr(layer2, name))

    # Arguments

    def test_generate_methods_with_logits_to_keep(self):
        for model, inputs in self._models():
            settings = {"max_new_tokens": 10, "do_sample": False}
            every = model.generate(**inputs, **settings, logits_to_keep=0)
            assert every.tolist() == model.generate(**inputs, **settings).tolist()

    def test_forward_with_logits_to_keep(self):
        for model_class in self.all_generative_model_classes:
            config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
            model = model_class(config).to(torch_device).eval()
            every, last = (model(**inputs, logits_to_keep=number).logits for number in (0, 1))
            torch.testing.assert_close(every[:, -1:], last, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(every[:, [0, 2]], model(**inputs, logits_to_keep=torch.tensor([0, 2])).logits)

    def test_inherits_generation_mixin(self):
        for model_class in self.all_generative_model_classes:
            assert "GenerationMixin" in str(model_class.__bases__)

    def test_prepare_inputs_for_generation_kwargs_forwards(self):
        for model, _ in self._models():
            ids = torch.tensor([[1, 2, 3], [4, 5, 6]], device=torch_device)
            position_ids = torch.arange(3, device=torch_device).expand(2, 3)
            forwarded = {"output_attentions": True, "output_hidden_states": True, "some_text": "value", "a_number": 7}
            prepared = model.prepare_inputs_for_generation(input_ids=ids, position_ids=position_ids, **forwarded)
            assert ("decoder_input_ids" if model.config.is_encoder_decoder else "input_ids") in prepared
            assert {name: prepared.get(name) for name in forwarded} == forwarded
