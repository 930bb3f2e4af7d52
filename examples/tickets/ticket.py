"""A ticket for a page of tidings: TIDINGS_SECRET=... python3 ticket.py USER [MILLISECONDS]"""
import base64, hashlib, hmac, json, os, sys, time


def sign(user, lifetime, secret):
    def base64url(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    content = json.dumps({"u": user, "x": int(time.time() * 1000) + lifetime})
    signed = "t1." + base64url(content.encode())
    return signed + "." + base64url(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())


if __name__ == "__main__":
    lifetime = int(sys.argv[2]) if len(sys.argv) > 2 else 600_000
    print(sign(sys.argv[1], lifetime, os.environ["TIDINGS_SECRET"]))
