# The relay in Python, a WSGI application at https://www.example.com/relay/wt of your own site. In the page:
#   wtSmart.advanced.set({sendViaServer: {activated: true, serverDomain: 'www.example.com', serverPath: 'relay/wt'}});
import base64
import os
import re
import urllib.request

TRACKER = os.environ.get("TRACKER", "https://t.example.com/111111111111111")
SECRET = os.environ.get("TRACKER_SECRET", "the secret of the track id in mapp.secrets")
# Of the browser's cookies only the tracker's own pass.
OWN = re.compile(r"(wteid_[\d,]+|wtsid_[\d,]+|visitorId|broadlogId|deliveryId|webtrekkOptOut)=")
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==")


def application(environ, start_response):
    agent = environ.get("HTTP_USER_AGENT", "")
    cookies = map(str.strip, environ.get("HTTP_COOKIE", "").split(";"))
    headers = {
        "X-WT-Secret": SECRET,
        # Behind a proxy of your own: the address that it names.
        "X-WT-IP": environ["REMOTE_ADDR"],
        "X-WT-UA": agent,
        "User-Agent": agent,
        "Referer": environ.get("HTTP_REFERER", ""),
        "Cookie": "; ".join(filter(OWN.match, cookies)),
    }
    answer_headers = [("Content-Type", "image/gif"), ("Cache-Control", "private, no-cache, no-store")]
    gif = GIF
    try:
        url = f"{TRACKER}/wt?{environ.get('QUERY_STRING', '')}"
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=3) as answer:
            gif = answer.read()
            answer_headers += [("Set-Cookie", cookie) for cookie in answer.headers.get_all("Set-Cookie", [])]
    except (OSError, ValueError) as error:
        # The page does not mind a tracker that is away.
        print("tracker:", error, file=environ["wsgi.errors"])
    start_response("200 OK", answer_headers)
    return [gif]


if __name__ == "__main__":
    from wsgiref.simple_server import make_server

    make_server("127.0.0.1", int(os.environ.get("PORT", "8081")), application).serve_forever()
