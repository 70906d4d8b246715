"""How often a host is asked again that names the same bytes differently."""

from itertools import chain, repeat

import pytest

from hubfs.blobs.http.blob import HttpBlob
from hubfs.errors import Stale
from tests.support.http_clients import http_client
from tests.support.http_origin import Answer, HttpOrigin, Request, Resource

OURS, OTHER = Resource(b"bytes", etag='"ours"'), Resource(b"bytes", etag='"other"')


def test_a_host_is_asked_eight_times_and_more_often_once_it_is_known_to_be_replicas(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with HttpOrigin() as origin, http_client() as client:
        answers = chain([OURS], repeat(OTHER))

        def routed(request: Request) -> Answer:
            return next(answers)(request)

        origin.route("/a", routed)
        blob = HttpBlob(client, origin.url + "/a")

        def asked(*resources: Resource) -> int:
            nonlocal answers
            answers = chain(resources, repeat(OTHER))
            before = len(origin.requests)
            if OURS in resources:
                assert blob.read_at(0, 5) == b"bytes"
            else:
                with pytest.raises(Stale, match="changed while it was being read"):
                    blob.read_at(0, 5)
            return len(origin.requests) - before

        assert asked() == 8
        assert asked(OURS) == 1, "the first reply says nothing"
        assert asked() == 8
        assert asked(OTHER, OURS) == 2
        assert asked() == 64
        assert asked(OTHER, OTHER, OURS) == 3
    said = [record for record in caplog.records if "/a has replicas" in record.getMessage()]
    assert len(said) == 1
