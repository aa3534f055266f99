"""A Hub on loopback: as huggingface.co answers, and as broken networks, mirrors and liars do.

fake = FakeHub(files, lfs={...}); fake.url; fake.requests; then set its faults. One thread a connection.
"""
import hashlib
import http.server
import json
import re
import threading
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SIGNATURE = "Signature=a%2Bb%2fc&Expires=1"  # the store wants it as the Hub wrote it


def git_hash(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # the client went away


class FakeHub:
    """Serves `files` (name -> bytes) of org/name at COMMIT; those named in `lfs` from a second server, the store."""

    def __init__(self, files, lfs=(), context=None):
        self.files, self.lfs = dict(files), set(lfs)
        self.commit, self.model = COMMIT, "org/name"
        self.revisions = {"main", "v1", "refs/pr/1"}
        self.listed = None        # what the list of files says instead
        self.listing = None       # the whole answer instead
        self.token = None         # who has no such token is refused
        self.gated = False
        self.hashes = {}          # file -> the hash that is told
        self.sizes = {}           # file -> the size that is told; None: none is
        self.cuts = {}            # file -> [bytes after which the connection breaks, ...], one a request
        self.short = {}           # file -> bytes after which the answer ends, as if that were all
        self.extra = b""          # what follows each file of the store
        self.stalls = {}          # file -> how many requests stall after their first bytes
        self.busy = 0             # so many requests are answered 503
        self.ranges = True
        self.wrong_range = False
        self.redirect = None      # where the store's address is instead
        self.release = threading.Event()  # ends what stalls
        self.requests = []        # (server: hub | store, method, path, headers)
        self.servers = [self._start("hub", context), self._start("store", context)]
        scheme = "https" if context else "http"
        self.url, self.store = (f"{scheme}://localhost:{s.server_address[1]}" for s in self.servers)

    def close(self):
        self.release.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def asked(self, server, method="GET", file=""):
        return [headers for s, m, path, headers in self.requests if s == server and m == method and path.endswith(file)]

    def _start(self, role, context):
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
                hub.requests.append((role, self.command, path, dict(self.headers)))
                if hub.busy > 0:
                    hub.busy -= 1
                    self.answer(503)
                elif role == "store" and urllib.parse.urlsplit(self.path).query != SIGNATURE:
                    self.answer(403)
                elif role == "store":
                    self.send_file(path[1:], hub.files[path[1:]])
                elif hub.token and self.headers["Authorization"] != "Bearer " + hub.token:
                    self.answer(401, {"X-Error-Code": "GatedRepo"} if hub.gated else {})
                elif path.startswith("/api/models/"):
                    self.list(path)
                else:
                    self.resolve(path)

            do_HEAD = do_GET

            def answer(self, status, headers=None, body=b""):
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def list(self, path):
                found = re.fullmatch(r"/api/models/(.+)/revision/(.+)", path)
                if found is None or found[1] == "org/missing":
                    return self.answer(401, {"X-Error-Code": "RepoNotFound"})
                if found[1] == "org/old-name":
                    return self.answer(307, {"Location": f"/api/models/{hub.model}/revision/{found[2]}"})
                if found[2] not in {*hub.revisions, hub.commit}:
                    return self.answer(404, {"X-Error-Code": "RevisionNotFound"})
                names = hub.files if hub.listed is None else hub.listed
                body = {"id": hub.model, "sha": hub.commit, "siblings": [{"rfilename": name} for name in names]}
                text = json.dumps(body).encode() if hub.listing is None else hub.listing
                self.answer(200, {"Content-Type": "application/json"}, text)

            def resolve(self, path):
                found = re.fullmatch(r"/(.+?)/resolve/(.+?)/(.+)", path)
                name = found[3]
                if name not in hub.files:
                    return self.answer(404, {"X-Error-Code": "EntryNotFound"})
                if found[1] == "org/old-name":
                    return self.answer(307, {"Location": f"/{hub.model}/resolve/{found[2]}/{name}"})
                data = hub.files[name]
                if name not in hub.lfs:
                    return self.send_file(name, data, {"ETag": f'"{hub.hashes.get(name, git_hash(data))}"'})
                self.answer(302, {"Location": (hub.redirect or hub.store) + "/" + name + "?" + SIGNATURE,
                                  "X-Repo-Commit": hub.commit,
                                  "X-Linked-Size": str(hub.sizes.get(name, len(data))),
                                  "X-Linked-Etag": f'"{hub.hashes.get(name, hashlib.sha256(data).hexdigest())}"'})

            def send_file(self, name, data, headers=None):
                data = data + hub.extra if role == "store" else data
                start = 0
                wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                if wanted and hub.ranges and self.command == "GET":
                    start = int(wanted[1])
                    if start >= len(data):
                        return self.answer(416)
                    start -= 1 if hub.wrong_range else 0
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                else:
                    self.send_response(200)
                rest = data[start:]
                self.send_header("X-Repo-Commit", hub.commit)
                for key, value in (headers or {}).items():
                    self.send_header(key, value)
                if name in hub.short:  # ended by the connection's end alone
                    rest = rest[:max(0, hub.short[name] - start)]
                    self.send_header("Connection", "close")
                elif self.command == "GET" or hub.sizes.get(name, 0) is not None:
                    self.send_header("Content-Length", str(len(rest) if self.command == "GET" else hub.sizes.get(name, len(data))))
                self.end_headers()
                if self.command != "GET":
                    return
                cuts = hub.cuts.get(name)
                if cuts:
                    self.wfile.write(rest[:cuts.pop(0)])
                    self.wfile.flush()
                    self.close_connection = True
                    return
                if hub.stalls.get(name, 0) > 0:
                    hub.stalls[name] -= 1
                    self.wfile.write(rest[:10])
                    self.wfile.flush()
                    hub.release.wait(60)
                    self.close_connection = True
                    return
                self.wfile.write(rest)

        server = Server(("127.0.0.1", 0), Handler)
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server
