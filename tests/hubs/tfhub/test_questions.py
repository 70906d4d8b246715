import pytest

from hubfs.blobs.http.transfer import HttpReply
from hubfs.hubs.tfhub.questions import bucket_in


def reply(body: str, location: str = "") -> HttpReply:
    return HttpReply(303, {"Location": location}, body.encode(), "https://hub.example/a/b/1")


@pytest.mark.parametrize("url", ["gs://bucket", "gs://my.bucket_1/a/b.c/1", "gs://bucket/a..b/1"])
def test_a_reply_names_a_bucket_and_a_folder(url: str) -> None:
    assert bucket_in(reply(f"{url}/\n")) == bucket_in(reply("", url)) == bucket_in(reply(f'see "{url}"')) == url


@pytest.mark.parametrize(
    "url",
    [
        "gs://",
        "gs:///etc/passwd",
        "gs://../secret/x",
        "gs://a..b/x",
        "gs://bucket/../other/x",
        "gs://bucket/./x",
        "gs://bucket//x",
        "gs://bucket/x?alt=media",
        "gs://bucket/x#y",
        "gs://me:hush@bucket/x",
        "gs://bucket:80/x",
        "gs://bucket%2f..%2fother/x",
        "gs://bucket\\x/y",
        "gs://bucket/x\0",
        "gs://bucket/x\x01/y",
        "gs://bucket/\x7fx",
        "gs://127.0.0.1:1/x",
        "file:///etc/passwd",
    ],
)
def test_what_no_bucket_can_have_is_no_answer(url: str) -> None:
    assert bucket_in(reply(url)) is None
    assert bucket_in(reply("", url)) is None
