"""The credentials file of a service account that nobody knows."""

import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


def service_account(token_url: str, key_id: str = "1") -> str:
    """What such a file says; its tokens come from `token_url`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "p",
            "private_key_id": key_id,
            "private_key": key.decode(),
            "client_email": "me@p.example",
            "token_uri": token_url,
        }
    )
