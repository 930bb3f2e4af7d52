"""Prints what comes for the user of a ticket or token, as lines of JSON: python3 listen.py TICKET

By SockJS and server-sent events, as the standard library has no WebSocket; the frames are those of docs/wire.md.
After an interruption it goes on where it was. Ends with status 1 where the server says not to come back.
"""
import json, os, secrets, sys, time, urllib.error, urllib.request

SOCKJS = os.environ.get("TIDINGS_URL", "http://127.0.0.1:8080") + "/sockjs/socketServer"


class Refused(Exception):
    pass


def listen(ticket):
    """Yields the messages of the user's inbox."""
    headers = {"Cookie": "tidings_ticket=" + ticket}
    positions = {}  # keep it in a file to go on where you were after a restart, too
    while True:
        session = f"{SOCKJS}/python/{secrets.token_hex(16)}"
        try:
            for frame in frames(session, headers, lambda: {"type": "hello", "positions": positions}):
                if frame["type"] == "welcome":
                    frame = {**frame["channels"]["inbox"], "type": "gap", "channel": "inbox"}
                if frame.get("channel") != "inbox":
                    continue
                if frame["type"] == "message":
                    positions["inbox"] = {name: frame[name] for name in ("epoch", "offset", "id")}
                    if not frame.get("gone"):
                        yield frame
                elif frame["type"] == "gap":
                    positions["inbox"] = frame["position"]
                    if not frame["recovered"]:
                        print(f"messages were missed: {frame['reason']}", file=sys.stderr)
        except OSError as error:
            if getattr(error, "code", 500) in (400, 401, 403, 404):
                raise Refused(error) from None
            print(f"connecting again: {error}", file=sys.stderr)
        time.sleep(2)


def frames(session, headers, hello):
    """Yields the frames of one session, until it is closed."""
    address = session + "/eventsource?protocol=tidings.1"
    while True:  # a response ends after 128 KiB; the session goes on with the next
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=60) as stream:
            for line in stream:
                kind, content = line[6:7], line[7:]
                if not line.startswith(b"data: ") or kind == b"h":
                    continue
                if kind == b"o":
                    body = json.dumps([json.dumps(hello())]).encode()
                    post = urllib.request.Request(session + "/xhr_send", body, headers)
                    try:
                        urllib.request.urlopen(post, timeout=12).close()
                    except OSError:
                        pass  # the stream ends, and says why
                elif kind == b"a":
                    yield from map(json.loads, json.loads(content))
                elif kind == b"c":
                    code, reason = json.loads(content)
                    if 4500 <= code < 5000:
                        raise Refused(f"{code} {reason}")
                    return


if __name__ == "__main__":
    try:
        for message in listen(sys.argv[1]):
            print(json.dumps(message["data"]), flush=True)
    except Refused as reason:
        sys.exit(f"refused: {reason}")
    except KeyboardInterrupt:
        pass
