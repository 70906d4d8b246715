"""How often a host is asked again that names the same bytes differently."""

import pytest

from hubfs.blobs.http.pinned import Replicas


def test_a_host_is_asked_eight_times_and_more_often_once_it_is_known_to_be_replicas(
    caplog: pytest.LogCaptureFixture,
) -> None:
    replicas = Replicas("http://host/model")
    replicas.answered(1)
    assert [replicas.may_be(7), replicas.may_be(8)] == [True, False], "the first reply says nothing"
    replicas.answered(2)
    assert [replicas.may_be(63), replicas.may_be(64)] == [True, False]
    replicas.answered(3)
    said = [record for record in caplog.records if "http://host/model has replicas" in record.getMessage()]
    assert len(said) == 1
