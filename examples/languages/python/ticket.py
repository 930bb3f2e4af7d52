"""A ticket for a page of USER, a JSON Web Token (HS256): TIDINGS_JWT_SECRET=… python3 ticket.py USER [SECONDS]"""
import base64, hashlib, hmac, json, os, sys, time


def sign(user, seconds, secret):
    def base64url(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    header = base64url(b'{"alg":"HS256","typ":"JWT"}')
    claims = base64url(json.dumps({"sub": user, "exp": int(time.time()) + seconds}).encode())
    signature = hmac.new(secret.encode(), f"{header}.{claims}".encode(), hashlib.sha256).digest()
    return f"{header}.{claims}.{base64url(signature)}"


if __name__ == "__main__":
    print(sign(sys.argv[1], int((sys.argv + ["600"])[2]), os.environ["TIDINGS_JWT_SECRET"]))
