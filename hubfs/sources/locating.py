"""Where a model is that was found before."""

from hubfs.blobs.retry import Permanent
from hubfs.errors import NotFound
from hubfs.hubs.resolver import Form, Location, Resolver
from hubfs.model_id import ModelId


def located_anew(resolver: Resolver, handle: ModelId, form: Form) -> Location:
    """Where `handle` is by now. Raises what the hub raises, but for `NotFound`.

    To who reads or lists a model that is there, "no such file" would be no answer (a listing that ends with it shows
    an empty directory), and nobody would be told why. That the hub has it no longer is `Permanent`: what the cache
    keeps of it stays.
    """
    try:
        return resolver.resolve(handle, form)
    except NotFound as gone:
        raise Permanent(f"{gone}; it had, and what is cached of {handle} can still be read") from gone
