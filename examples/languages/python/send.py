"""Sends a message to all pages of a user: TIDINGS_ADMIN_TOKEN=… python3 send.py USER JSON [KEY]"""
import json, os, sys, time, urllib.error, urllib.parse, urllib.request, uuid

SERVER = os.environ.get("TIDINGS_URL", "http://127.0.0.1:8080")


def send(user, data, key=None):
    """Returns the receipt. With the same key again nothing is stored twice, so it is safe to ask again."""
    request = urllib.request.Request(
        f"{SERVER}/api/users/{urllib.parse.quote(user, safe='')}/messages",
        json.dumps(data).encode(),
        {
            "Authorization": "Bearer " + os.environ["TIDINGS_ADMIN_TOKEN"],
            "Content-Type": "application/json",
            "Idempotency-Key": key or str(uuid.uuid4()),
        },
    )
    for attempt in range(1, 4):
        if attempt > 1:
            time.sleep(attempt)
        try:
            with urllib.request.urlopen(request, timeout=12) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            problem = f"{error.code}: {error.read().decode()}"
            if error.code < 500:
                break
        except OSError as error:
            problem = str(error)
    raise RuntimeError(problem)


if __name__ == "__main__":
    try:
        print(json.dumps(send(sys.argv[1], json.loads(sys.argv[2]), *sys.argv[3:4])))
    except (RuntimeError, ValueError) as error:
        sys.exit(f"not sent: {error}")
