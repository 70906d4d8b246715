"""SavedModels in a directory: loaded as TensorFlow loads them, and which of their functions a layer is to call."""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FILES = ("saved_model.pb", "saved_model.pbtxt")
"""One of these is in every SavedModel."""

_MODULE_FILE = "tfhub_module.pb"
_DEFAULT = "serving_default"
_OF_MODULES = "default"
_NOT_TO_BE_CALLED = "__saved_model_init_op"

_SHOWN = 8
"""So many names of files are told of a directory that is no SavedModel."""


@dataclass(frozen=True)
class Loaded:
    """A loaded model. `where` names it in messages; `is_module`: it has the format of TF1 Hub."""

    model: Any
    where: str
    is_module: bool = False


@dataclass(frozen=True)
class Endpoint:
    """A function of a model. `inputs`: of a signature, the names of its inputs; None for the model's own call."""

    function: Any
    inputs: Sequence[str] | None = None

    @property
    def takes_training(self) -> bool:
        """Whether it is another function in training."""
        function = self.function if inspect.isfunction(self.function) else self.function.__call__
        return self.inputs is None and "training" in inspect.signature(function).parameters

    def called(self, inputs: Any, arguments: Mapping[str, Any]) -> Any:
        """What the function gives for a tensor, or for a dict of them by name."""
        if self.inputs is None:
            return self.function(inputs, **arguments)
        if not isinstance(inputs, Mapping):
            free = [name for name in self.inputs if name not in arguments]
            if len(free) != 1:
                raise ValueError(f"the signature has the inputs {listed(free)}: call the layer with a dict of these")
            inputs = {free[0]: inputs}
        return self.function(**arguments, **inputs)


def tensorflow() -> Any:
    """The module. Raises `ModuleNotFoundError`, which says what to do."""
    try:
        return importlib.import_module("tensorflow")
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        raise ModuleNotFoundError(
            "TensorFlow is not installed in this environment: pip install tensorflow", name="tensorflow"
        ) from None


def load(where: Callable[[], str], tags: Iterable[str] | None = None, options: Any = None) -> Loaded:
    """The SavedModel in the directory that `where` tells, or in whatever TensorFlow reads by that path.

    Of a TF1 Hub module, `tags` are none if they are not named. Raises `ModuleNotFoundError` without TensorFlow, before
    a model is fetched for nothing; `ValueError` where there is no SavedModel; and what `where` and TensorFlow raise.
    """
    tf = tensorflow()
    path = where()
    if not any(tf.io.gfile.exists(f"{path}/{name}") for name in FILES):
        raise ValueError(f"{path} is no SavedModel: it has no {FILES[0]}{_what_is_there(tf, path)}")
    is_module = tf.io.gfile.exists(f"{path}/{_MODULE_FILE}")
    if tags is None and is_module:
        tags = []
    # `tf.saved_model.load` by the name that every version has.
    model = tf.compat.v1.saved_model.load_v2(path, tags=tags, options=options)
    return Loaded(model, path, is_module)


def _what_is_there(tf: Any, path: str) -> str:
    if not tf.io.gfile.isdir(path):
        return ", for there is no such directory"
    names = sorted(name.rstrip("/") for name in tf.io.gfile.listdir(path))
    return f", but {listed(names[:_SHOWN])}{' …' if len(names) > _SHOWN else ''}" if names else ", for it is empty"


def endpoint_of(loaded: Loaded, signature: str | None = None) -> Endpoint:
    """The function that a layer calls: the one of `signature`, or without one the only one that it can be.

    That is the model itself if it can be called, `default` of a TF1 Hub module, `serving_default`, or the one signature
    that there is. Raises `ValueError`, which names all.
    """
    model = loaded.model
    signatures = {
        name: function for name, function in getattr(model, "signatures", {}).items() if name != _NOT_TO_BE_CALLED
    }
    if signature is None and callable(model):
        return Endpoint(model)
    names = [*signatures]
    wanted = signature or (_OF_MODULES if loaded.is_module else _DEFAULT)
    if wanted not in signatures and signature is None and len(names) == 1:
        wanted = names[0]
    if wanted in signatures:
        function = signatures[wanted]
        return Endpoint(function, [*function.structured_input_signature[1]])
    if not names:
        raise ValueError(f"{loaded.where} has no signature{'' if callable(model) else ', and cannot be called itself'}")
    if signature is None:
        raise ValueError(f"{loaded.where} has several signatures; name one by `signature`: {listed(names)}")
    raise ValueError(f"{loaded.where} has no signature {signature!r}; it has {listed(names)}")


def variables_of(loaded: Loaded, endpoint: Endpoint) -> tuple[Sequence[Any], Sequence[Any]]:
    """The variables that training changes, and the others: those that the model names, else those of the function."""
    model = loaded.model
    if endpoint.inputs is None and hasattr(model, "trainable_variables"):
        trainable, every = [*model.trainable_variables], [*getattr(model, "variables", ())]
    else:
        function = endpoint.function if endpoint.inputs is not None else endpoint.function.__call__
        functions = getattr(function, "concrete_functions", [function])
        trainable = [one for each in functions for one in getattr(each, "trainable_variables", ())]
        every = [one for each in functions for one in getattr(each, "variables", ())]
    by_identity = {id(one): one for one in trainable}
    others = {id(one): one for one in every if id(one) not in by_identity}
    return [*by_identity.values()], [*others.values()]


def listed(names: Iterable[str]) -> str:
    """Names as a message has them."""
    return ", ".join(map(repr, sorted(names)))
