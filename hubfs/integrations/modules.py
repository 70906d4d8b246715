"""Modules of TF1 Hub in a graph, for inference: `hub.Module` of programs that run sessions of TensorFlow 1."""

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hubfs.integrations.loading import listed, tensorflow

_STATE = {"variables", "table_initializer"}
"""Collections of a module that the program's graph gets once; in no other would an optimizer find its variables."""

_LOOPS = {"cond_context", "while_context"}
"""Collections that each copy of the operations needs: loops of one name cannot run side by side."""


class GraphModule:
    """A module whose variables are in the default graph. Each call adds the operations of one signature to that graph.

    `where` tells the module's directory; it is not asked for a module that cannot be.
    `tf.compat.v1.global_variables_initializer()` reads the variables from the module's checkpoint. Raises
    `NotImplementedError` for a module that is to be trained, and `ValueError` where there is none with these `tags`.
    """

    def __init__(
        self,
        where: Callable[[], str],
        trainable: bool = False,  # noqa: FBT001, FBT002 - as tensorflow_hub had it
        name: str = "module",
        tags: Iterable[str] | None = None,
    ) -> None:
        tf = tensorflow()
        if trainable:
            raise NotImplementedError("hubfs has hub.Module for inference alone: leave out trainable=True")
        if tf.executing_eagerly():
            raise ValueError("hub.Module belongs in a graph, as with tf.Graph().as_default(): elsewhere, use hub.load")
        path = where()
        self._path, self._name = path, name
        self._meta = meta = _meta_graph(tf, path, {*(tags or ())})
        texts = {one.tensor_info.name: f"{path}/assets/{one.filename}" for one in _assets_of(meta)}
        if meta.saver_def.restore_op_name:
            texts[meta.saver_def.filename_tensor_name] = f"{path}/variables/variables"
            _initialize_from_checkpoint(meta)
        with tf.compat.v1.name_scope(None):
            self._known = {tensor: tf.constant(text) for tensor, text in texts.items()}
        self._scope = scope = self._imported(tf, name, self._known, _STATE | _LOOPS)
        graph = tf.compat.v1.get_default_graph()
        for node in meta.graph_def.node:
            source = graph.get_operation_by_name(f"{scope}/{node.name}")
            for output in source.outputs if not source.inputs else ():
                if output.dtype == tf.resource or output.dtype != output.dtype.base_dtype:  # a variable's, or a table's
                    self._known[output.name.removeprefix(f"{scope}/")] = output
            node.attr.pop("_class", None)  # the place of a copy is not beside variables that nobody sets

    def _imported(self, tf: Any, name: str, known: Mapping[str, Any], collections: set[str]) -> str:
        """Copies the operations into the default graph, with `known` in the place of tensors; the copy's scope."""
        scope = str(tf.compat.v1.get_default_graph().unique_name(name, mark_as_used=False))
        with tf.compat.v1.name_scope(None):
            tf.compat.v1.train.import_meta_graph(
                self._meta, True, scope, input_map=known, restore_collections_predicate=collections.__contains__
            )
        return scope

    @property
    def variables(self) -> list[Any]:
        """Its variables in the graph."""
        return list(tensorflow().compat.v1.global_variables(f"{re.escape(self._scope)}/"))

    def get_signature_names(self) -> list[str]:
        """The names of the signatures."""
        return [*self._meta.signature_def]

    def image_size(self, signature: str, name: str) -> list[int]:
        """Height and width of a signature's input. Raises `ValueError` where the module does not say them."""
        inputs = self._signature(signature).inputs
        size = [one.size for one in inputs[name].tensor_shape.dim][1:3] if name in inputs else []
        if len(size) != 2 or min(size) < 0:  # noqa: PLR2004 - height and width
            raise ValueError(f"{self._path} has no input {name!r} of images of one size")
        return size

    def __call__(self, inputs: Any = None, signature: str | None = None, as_dict: bool | None = None) -> Any:  # noqa: FBT001 - as above
        """The tensor `default` of a signature, or a dict of all that it gives, for a tensor or a dict of these."""
        tf, chosen = tensorflow(), signature or "default"
        wanted = self._signature(chosen)
        given = inputs
        if not isinstance(inputs, Mapping):
            given = {} if inputs is None else dict.fromkeys([*wanted.inputs][:1], inputs)
        if {*given} != {*wanted.inputs}:
            raise ValueError(f"the signature {chosen!r} takes a dict of {listed(wanted.inputs)}")
        if not all(one.name for one in (*wanted.inputs.values(), *wanted.outputs.values())):
            raise NotImplementedError(f"{self._path}: the signature {chosen!r} has a sparse tensor")
        known = {one.name: tf.convert_to_tensor(given[name], one.dtype) for name, one in wanted.inputs.items()}
        scope = self._imported(tf, f"{self._name}_apply_{chosen}", self._known | known, _LOOPS)
        graph = tf.compat.v1.get_default_graph()
        outputs = {name: graph.get_tensor_by_name(f"{scope}/{one.name}") for name, one in wanted.outputs.items()}
        if not as_dict and "default" not in outputs:
            raise ValueError(f"no output of {chosen!r} is the default: with as_dict=True there are {listed(outputs)}")
        return outputs if as_dict else outputs["default"]

    def _signature(self, name: str) -> Any:
        if name not in self._meta.signature_def:
            raise ValueError(f"{self._path} has no signature {name!r}; it has {listed(self.get_signature_names())}")
        return self._meta.signature_def[name]


def _meta_graph(tf: Any, path: str, tags: set[str]) -> Any:
    """The graph of these tags, of the SavedModel in a directory. Raises `ValueError` for another kind of model."""
    if not tf.io.gfile.exists(f"{path}/tfhub_module.pb"):
        raise ValueError(f"{path} is no module of TF1 Hub, which hub.Module is for: use hub.load")
    saved = importlib.import_module("tensorflow.core.protobuf.saved_model_pb2").SavedModel()
    with tf.io.gfile.GFile(f"{path}/saved_model.pb", "rb") as file:
        saved.ParseFromString(file.read())
    every = [{*meta.meta_info_def.tags} for meta in saved.meta_graphs]
    if tags not in every:
        raise ValueError(
            f"{path} has no graph with the tags {sorted(tags)}; it has {', '.join(str(sorted(one)) for one in every)}"
        )
    return saved.meta_graphs[every.index(tags)]


def _assets_of(meta: Any) -> list[Any]:
    """The files that the graph names, by the constant that names one: older graphs have them in a collection."""
    kind = importlib.import_module("tensorflow.core.protobuf.meta_graph_pb2").AssetFileDef
    packed = meta.collection_def["saved_model_assets"].any_list.value
    return [*meta.asset_file_def] or [kind.FromString(one.value) for one in packed]


def _initialize_from_checkpoint(meta: Any) -> None:
    """Makes the graph's own operation that restores its checkpoint what initializes each of its variables."""
    pb2 = importlib.import_module("tensorflow.core.framework.variable_pb2")
    variables = meta.collection_def["variables"].bytes_list.value
    for at, text in enumerate(variables):
        variable = pb2.VariableDef.FromString(text)
        variable.initializer_name = meta.saver_def.restore_op_name
        variables[at] = variable.SerializeToString()
