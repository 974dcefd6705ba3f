# Hits in a queue: the page writes a line to a file and does not wait; `python3 batch.py send`, every minute from cron, sends them.
# Only 200 means that a batch is stored. Anything else: the same lines again with the next round.
import contextlib
import fcntl
import os
import sys
import time
import urllib.request
from urllib.parse import quote
from wsgiref.util import request_uri

TRACKER = os.environ.get("TRACKER", "https://t.example.com/111111111111111")
SECRET = os.environ.get("TRACKER_SECRET", "the secret of the track id in mapp.secrets")
QUEUE = os.environ.get("QUEUE", "/var/spool/site/hits")
SENDING = QUEUE + ".sending"


@contextlib.contextmanager
def locked():
    with open(QUEUE + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remember(environ, page_name, visitor, **parameters):
    """Call it while the page is built."""
    p = [300, page_name, 0, "", "", "", int(time.time() * 1000), environ.get("HTTP_REFERER", "0")]
    query = {
        "eid": visitor,
        "X-WT-IP": environ["REMOTE_ADDR"],
        "X-WT-UA": environ.get("HTTP_USER_AGENT", ""),
        "pu": request_uri(environ),
        **parameters,
    }
    pairs = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    with locked(), open(QUEUE, "a") as queue:
        queue.write(f"wt?p={','.join(quote(str(part), safe='') for part in p)}&{pairs}\n")


def send():
    with locked():
        # What an earlier round left goes first.
        if not os.path.exists(SENDING) and os.path.exists(QUEUE):
            os.rename(QUEUE, SENDING)
    if not os.path.exists(SENDING):
        return
    with open(SENDING) as taken:
        lines = taken.readlines()
    while lines:
        body = "".join(lines[:10000]).encode()
        headers = {"X-WT-Secret": SECRET, "Content-Type": "text/plain"}
        # Raises for what is no success.
        with urllib.request.urlopen(urllib.request.Request(TRACKER + "/batch", body, headers), timeout=30) as answer:
            if answer.status != 200:
                raise OSError(f"status {answer.status}")
        lines = lines[10000:]
        with open(SENDING, "w") as taken:
            taken.writelines(lines)
    os.remove(SENDING)


def application(environ, start_response):
    remember(environ, "thank you", "8179528021194246163", ov="49.90", cr="EUR", oi="A-1")
    start_response("200 OK", [("Content-Type", "text/html")])
    return [b"<!doctype html><title>Thank you</title>"]


if __name__ == "__main__":
    if sys.argv[1:] == ["send"]:
        try:
            send()
        except OSError as error:
            sys.exit(f"tracker: {error}")
    else:
        from wsgiref.simple_server import make_server

        make_server("127.0.0.1", int(os.environ.get("PORT", "8081")), application).serve_forever()
