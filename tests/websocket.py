"""A websocket handshake made by hand, with whatever headers a test wants."""

import base64
import http.client
import os


def handshake(port: int, *, at: str = "127.0.0.1", **headers: str) -> int:
    """The status that a websocket to Streamlit is answered with."""
    connection = http.client.HTTPConnection(at, port, timeout=20)
    try:
        connection.putrequest("GET", "/_stcore/stream", skip_host=True)
        given = {
            "Host": f"{at}:{port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            **headers,
        }
        for name, value in given.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()
