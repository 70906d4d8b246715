"""The source of a model that is one file: TF Lite, for a microcontroller or an Edge TPU too."""

from hubfs.blobs.http.client import HttpClient
from hubfs.hubs.resolver import Form, Location
from hubfs.model_id import ModelId
from hubfs.sources.hosted import HostedSource
from hubfs.sources.listed import OnFailure, Wrap

FILE_NAME = "model.tflite"
"""What the file is called: the protocol gives it no name."""


class FileSource(HostedSource):
    """The model whose file is at the location's URL; see `HostedSource`. Its one entry is `model.tflite`."""

    form = Form.FILE

    @staticmethod
    def url_of(location_url: str, path: str) -> str:  # noqa: ARG004 - there is but one path
        """See `HostedSource`: the location is the file's."""
        return location_url

    @classmethod
    def ask(
        cls,
        client: HttpClient,
        hub: str,
        handle: ModelId,
        location: Location,
        wrap: Wrap,
        *,
        on_failure: OnFailure | None = None,
    ) -> "FileSource":
        """Asks the host for the start of the file. Raises what `HostedSource.probe` does."""
        return cls.probe(client, hub, handle, location, paths=[FILE_NAME], wrap=wrap, on_failure=on_failure)
