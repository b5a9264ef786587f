"""Stand-in: `torch.export` of every class gives the numbers of the class itself, by transformers' own exporter."""

import copy

import torch
from parameterized import parameterized
from transformers import set_seed
from transformers.exporters.exporter_dynamo import DynamoConfig, DynamoExporter
from transformers.exporters.utils import decompose_for_generation, get_leaf_tensors
from transformers.testing_utils import torch_device


class ExportTesterMixin:
    """Expects what `ModelTesterMixin` has, which inherits this."""

    @parameterized.expand([("static", False), ("dynamic", True)])
    def test_torch_export(self, name, dynamic):
        for model_class in self.all_model_classes:
            model, inputs = self._exported_model(model_class, self.model_tester.prepare_config_and_inputs_for_common)
            inputs = self._prepare_for_class(inputs, model_class)
            with self.subTest(model_class.__name__):
                self._check_export(model, inputs, dynamic)

    @parameterized.expand([("static", False), ("dynamic", True)])
    def test_torch_export_generate(self, name, dynamic):
        for model_class in self.all_generative_model_classes:
            model, inputs = self._exported_model(model_class, self.prepare_config_and_inputs_for_generate)
            for name, (part, part_inputs) in decompose_for_generation(model, inputs).items():
                with self.subTest(f"{model_class.__name__}, {name}"):
                    self._check_export(part, part_inputs, dynamic)

    def _exported_model(self, model_class, prepare):
        if not self.test_torch_exportable:
            self.skipTest("The tester says that this family cannot be exported.")
        set_seed(42)
        config, inputs = prepare()
        return model_class(config).to(torch_device).eval(), inputs

    def _check_export(self, model, inputs, dynamic):
        with torch.no_grad():
            expected = get_leaf_tensors(model(**copy.deepcopy(inputs)))
            exported = DynamoExporter().export(model, inputs, config=DynamoConfig(dynamic=dynamic))
            exported = getattr(exported, "program", exported)
            outputs = get_leaf_tensors(exported.module()(**copy.deepcopy(inputs)))
        assert outputs
        torch.testing.assert_close(outputs, expected, atol=1e-4, rtol=1e-4)
