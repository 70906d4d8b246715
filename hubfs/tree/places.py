"""What a path of one hub is: by its names, by what is known of its models, and then by what the hub says."""

from collections.abc import Callable

from hubfs.errors import EntryNotFound, ModelNotFound
from hubfs.hubs.place import Alias, Ambiguous, Folder, FolderOrAlias, NotInCatalogue, Settled
from hubfs.models.models import Models


def place_at(models: Models, path: str) -> Settled:
    """What the path is; where the names do not tell, the hub is asked if nothing known tells. Raises `NotFound`."""
    try:
        place = models.hub.names.place(path)
    except NotInCatalogue:  # which may be for want of having asked for the hub's
        models.renew_names()
        place = models.hub.names.place(path)
    if isinstance(place, FolderOrAlias):
        return either(models, place, models.answers.leads)
    return _model_or_not(models, path, place) if isinstance(place, Ambiguous) else place


def either(models: Models, place: FolderOrAlias, leads: Callable[[str], bool]) -> Folder | Alias:
    """The directory, if anything below it is known: nobody is asked about the alias then."""
    folder = "/".join(place.folder.segments)
    is_folder = models.known.children(folder) or models.answers.led_below(folder)
    return place.folder if is_folder or not leads(place.alias.name) else place.alias


def _model_or_not(models: Models, path: str, place: Ambiguous) -> Settled:
    """Which of several candidates is the model."""
    for is_known in (models.found, models.has):  # what is in memory before what is on disk
        for candidate in place.candidates:
            if is_known(candidate.handle):
                return candidate
    if models.known.children("/".join(place.segments)):
        return Folder(place.segments)
    for candidate in place.candidates:
        try:
            models.get(candidate.handle)
        except ModelNotFound:
            continue
        return candidate
    if place.otherwise is None:
        raise EntryNotFound(f"{models.hub.url} has no model at {path}")
    return place.otherwise
