"""SavedModels as layers, of Keras 3 or of tf_keras: they train, they are saved by their handle, and load anew by it."""

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hubfs.integrations.loading import Loaded, endpoint_of, tensorflow, variables_of

Loader = Callable[..., Loaded]
"""Loads the model of a handle: `load(handle, tags, options)`."""


@dataclass(frozen=True)
class _Told:
    """What a layer was told of its model, by the names of the config that Keras saves.

    In one object of no kind that Keras knows: Keras wraps lists and dicts, and JSON does not take these.
    """

    handle: Any
    arguments: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] | None = None
    signature: str | None = None
    signature_outputs_as_dict: bool | None = None
    output_key: str | None = None
    output_shape: Any = None

    def config(self) -> dict[str, Any]:
        """What differs from the defaults. Raises `NotImplementedError` for a model that was not given by its handle."""
        if not isinstance(self.handle, str):
            raise NotImplementedError(
                "a layer can be saved if it was made from a handle; this one was made from an object"
            )
        said = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in said.items() if value not in (None, {})}


def layer_class(load: Loader, keras: Any = None) -> Any:
    """The class of layers, which load their models by `load`.

    `keras` is the module that they are layers of: tf_keras where the program has imported it, else `tf.keras`, which
    is tf_keras where `TF_USE_LEGACY_KERAS` says so. Raises `ModuleNotFoundError` without TensorFlow, and
    `NotImplementedError` for a Keras that computes with another library.
    """
    tf = tensorflow()
    if keras is None:
        keras = sys.modules.get("tf_keras") or tf.keras
    if not keras.__version__.startswith("3."):
        return _made(_TfKerasLayer, keras.layers.Layer, load, None)
    if keras.backend.backend() != "tensorflow":
        raise NotImplementedError(
            f"a SavedModel is computed by TensorFlow, and Keras computes by {keras.backend.backend()} here: set "
            "KERAS_BACKEND=tensorflow"
        )
    return _made(_Keras3Layer, keras.layers.Layer, load, keras.Variable)


class _ModelLayer:
    """What layers of both kinds of Keras have in common; a subclass has the rest from its Keras."""

    _load: Loader

    def __init__(
        self,
        handle: Any,
        trainable: bool = False,  # noqa: FBT001, FBT002 - as tensorflow_hub has it
        arguments: Mapping[str, Any] | None = None,
        *,
        tags: Sequence[str] | None = None,
        signature: str | None = None,
        signature_outputs_as_dict: bool | None = None,
        output_key: str | None = None,
        output_shape: Any = None,
        load_options: Any = None,
        **options: Any,
    ) -> None:
        if signature_outputs_as_dict and output_key is not None:
            raise ValueError("output_key and signature_outputs_as_dict=True exclude each other")
        told = _Told(handle, arguments or {}, tags, signature, signature_outputs_as_dict, output_key, output_shape)
        loaded = self._load(handle, tags, load_options) if isinstance(handle, str) else Loaded(handle, repr(handle))
        endpoint = endpoint_of(loaded, signature)
        self._begin(trainable=trainable, **options)
        self._told, self._endpoint, self._is_module = told, endpoint, loaded.is_module
        self._model = loaded.model
        self._check(trainable=trainable)
        trained, others = variables_of(loaded, endpoint)
        self._add_variables(trained, others)
        self._regularize(getattr(loaded.model, "regularization_losses", ()))

    def _begin(self, **options: Any) -> None:
        keras: Any = super()
        keras.__init__(**options)

    def _add_variables(self, trained: Sequence[Any], others: Sequence[Any]) -> None:
        raise NotImplementedError

    def _regularize(self, losses: Iterable[Callable[[], Any]]) -> None:
        raise NotImplementedError

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer, as Keras has it, with whatever a program types where a layer wants tensors."""
        keras: Any = super()
        return keras.__call__(_as_tensors(inputs), *args, **kwargs)

    def _run(self, inputs: Any, *, training: bool) -> Any:
        """What the model gives. `training` counts where the layer is trainable, and the model is another one then."""
        told, arguments, trainable = self._told, dict(self._told.arguments), bool(getattr(self, "trainable", False))
        self._check(trainable=trainable)
        if self._endpoint.takes_training:
            arguments["training"] = training and trainable
        outputs = self._chosen(self._endpoint.called(inputs, arguments))
        if told.output_shape is not None:
            _set_shapes(outputs, told.output_shape)
        return outputs

    def _chosen(self, outputs: Any) -> Any:
        told = self._told
        if not isinstance(outputs, Mapping) or told.signature_outputs_as_dict:
            return outputs
        key = told.output_key
        if key is None and self._is_module:
            key = "default"
        if key is None:
            is_one = self._endpoint.inputs is not None and len(outputs) == 1
            return next(iter(outputs.values())) if is_one else outputs
        if key not in outputs:
            raise ValueError(f"the model has no output {key!r}; it has {', '.join(map(repr, sorted(outputs)))}")
        return outputs[key]

    def _check(self, *, trainable: bool) -> None:
        """Raises `ValueError` for a model that cannot be trained."""
        if trainable and self._is_module:
            raise ValueError(
                f"{self._told.handle} has the format of TF1 Hub, of which TensorFlow 2 loads neither update ops nor "
                "regularization losses: it cannot be trained; leave out trainable=True"
            )

    def get_config(self) -> dict[str, Any]:
        """What makes the layer anew."""
        keras: Any = super()
        return {**keras.get_config(), **self._told.config()}

    @property
    def resolved_object(self) -> Any:
        """The loaded model."""
        return self._model


class _Keras3Layer(_ModelLayer):
    """A SavedModel as a layer of Keras 3. Its dtypes are its own, whatever the policy."""

    _variable: Callable[..., Any]

    def _begin(self, *, input_shape: Sequence[int | None] | None = None, **options: Any) -> None:
        super()._begin(autocast=False, **options)
        self.supports_jit = False  # XLA compiles neither tables nor texts
        if input_shape is not None:
            # Keras' own argument would make an input of floats; by this attribute a Sequential takes the layer's dtype.
            self.input_shape = (None, *input_shape)

    def _add_variables(self, trained: Sequence[Any], others: Sequence[Any]) -> None:
        layer: Any = self
        self._trained = [self._as_keras_has_it(one, trainable=True) for one in trained]
        self._others = [self._as_keras_has_it(one, trainable=False) for one in others]
        for one in self._trained:  # Keras tells the variables that are there when a layer is said not to train
            one.trainable = layer.trainable
        self.built = True

    def _as_keras_has_it(self, variable: Any, *, trainable: bool) -> Any:
        """The variable itself: Keras wraps it, and refuses some characters of TensorFlow's names."""
        name = variable.name.partition(":")[0].replace("/", "_")
        return self._variable(variable, trainable=trainable, dtype=variable.dtype, name=name)

    def _regularize(self, losses: Iterable[Callable[[], Any]]) -> None:
        self._losses_of_model = [*losses]

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: FBT001 - as Keras calls it
        """What the model gives; in training, if the layer is trainable."""
        layer: Any = self
        if layer.trainable:
            for loss in self._losses_of_model:
                layer.add_loss(loss())
        return self._run(inputs, training=bool(training))

    def get_config(self) -> dict[str, Any]:
        """What makes the layer anew."""
        shape = getattr(self, "input_shape", None)
        own = super().get_config() | ({} if shape is None else {"input_shape": [*shape[1:]]})
        return {name: said for name, said in own.items() if name != "autocast"}


class _TfKerasLayer(_ModelLayer):
    """A SavedModel as a layer of tf_keras."""

    def _add_variables(self, trained: Sequence[Any], others: Sequence[Any]) -> None:
        for group, is_trained in ((trained, True), (others, False)):
            for one in group:
                self._add_existing(one, trainable=is_trained)

    def _add_existing(self, variable: Any, *, trainable: bool) -> None:
        layer: Any = self
        layer.add_weight(
            name=variable.name,
            shape=variable.shape,
            dtype=variable.dtype,
            trainable=trainable,
            experimental_autocast=False,
            getter=lambda *_, **__: variable,
        )

    def _regularize(self, losses: Iterable[Callable[[], Any]]) -> None:
        layer: Any = self
        for loss in losses:
            layer.add_loss(lambda loss=loss: loss() if layer.trainable else 0.0)

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: FBT001 - as Keras calls it
        """What the model gives; in training, if the layer is trainable."""
        return self._run(inputs, training=bool(training))


@lru_cache
def _made(own: type[_ModelLayer], base: Any, load: Loader, variable: Any) -> Any:
    """The class of layers that are `own` and `base`: which Keras it is, is known at run time alone."""
    return type("KerasLayer", (own, base), {"__doc__": own.__doc__, "_load": staticmethod(load), "_variable": variable})


def _as_tensors(inputs: Any) -> Any:
    """Texts, numbers, arrays, and lists of those, as tensors; doubles become floats, as Keras has it."""
    tf, numpy = tensorflow(), importlib.import_module("numpy")
    if isinstance(inputs, Mapping):
        return {name: _as_tensors(value) for name, value in inputs.items()}
    if isinstance(inputs, (list, tuple)):
        leaves = tf.nest.flatten(inputs)
        if not leaves or not all(isinstance(leaf, (str, bytes, int, float)) for leaf in leaves):
            return [_as_tensors(value) for value in inputs]
    elif isinstance(inputs, numpy.ndarray):
        return tf.convert_to_tensor(inputs, dtype=tf.float32 if inputs.dtype == numpy.float64 else None)
    elif not isinstance(inputs, (str, bytes, int, float)):
        return inputs
    return tf.convert_to_tensor(inputs)


def _set_shapes(outputs: Any, shapes: Any) -> None:
    """Tells TensorFlow the shapes of outputs, which have the shapes of `shapes` behind the size of the batch."""
    if isinstance(outputs, Mapping):
        for name, output in outputs.items():
            _set_shapes(output, shapes[name])
    elif isinstance(outputs, (list, tuple)):
        for output, shape in zip(outputs, shapes, strict=True):
            _set_shapes(output, shape)
    else:
        outputs.set_shape([None, *shapes])
