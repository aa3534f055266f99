"""What somebody else with an account on the host gets of a running state directory: files, sockets, ports, processes.

Usage: stranger.py STATE_DIR USER PID...    (the processes that work for the directory)

Root starts it and looks where everything is; a call with the admin's token is recorded as it passes on the wire. Then the
program becomes USER and tries all of it. Prints {"user", "outside": the names beside the directory, "tried": how many
things, "found": what it got}. Exit 1 if the call with the token did not work: then the rest would prove nothing.
"""
import glob
import json
import os
import pwd
import re
import socket
import ssl
import struct
import sys

SILENCE_SECONDS = 2.0  # nothing came for so long: that was the answer
PATIENCE_SECONDS = 20.0  # for an answer that must come


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def grpc_call(method, token):
    """The bytes of a whole gRPC call with an empty message: HTTP/2's greeting, SETTINGS, HEADERS, DATA."""
    headers = [(":method", "POST"), (":scheme", "https"), (":path", "/rung.v1.Studies/" + method),
               (":authority", "localhost"), ("content-type", "application/grpc"), ("te", "trailers")]
    if token:
        headers.append(("authorization", "Bearer " + token))
    block = b"".join(b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
                     for name, value in headers)
    return (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, block) +
            frame(0, 1, 1, b"\0" * 5))


def connected(port, until=b""):
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS if until else SILENCE_SECONDS)


def received(connection, decode, until):
    """What comes until the other side closes, is silent, or has said `until`."""
    answer = b""
    while not until or until not in answer:
        try:
            data = connection.recv(1 << 16)
        except OSError:
            break
        if not data:
            break
        answer += decode(data)
    return answer


def send_plain(port, request):
    with connected(port) as connection:
        connection.sendall(request)
        return received(connection, lambda data: data, b"")


def send_tls(port, request, until=b""):
    """The answer, and all bytes that went out: what somebody on the wire could record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    sent = b""

    def flush(connection):
        nonlocal sent
        data = outgoing.read()
        sent += data
        connection.sendall(data)

    def decode(data):
        incoming.write(data)
        plain = b""
        try:
            while part := tls.read(1 << 16):
                plain += part
        except ssl.SSLError:
            pass  # it wants more, or is at its end
        return plain

    with connected(port, until) as connection:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                flush(connection)
                data = connection.recv(1 << 16)
                if not data:
                    return b"", sent
                incoming.write(data)
        tls.write(request)
        flush(connection)
        return received(connection, decode, until), sent


def listening(pids):
    """(TCP ports, Unix sockets) that the processes listen on, as the kernel has them."""
    inodes = set()
    for link in (link for pid in pids for link in glob.glob(f"/proc/{pid}/fd/*")):
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(link))
        except OSError:
            continue  # closed meanwhile
        if match:
            inodes.add(match.group(1))

    def rows(table):
        return [line.split() for line in open(table).read().splitlines()[1:]] if os.path.exists(table) else []

    ports, sockets = set(), set()
    for row in rows("/proc/net/tcp") + rows("/proc/net/tcp6"):
        if row[3] == "0A" and row[9] in inodes:
            ports.add(int(row[1].rsplit(":", 1)[1], 16))
    for row in rows("/proc/net/unix"):
        if len(row) > 7 and row[6] in inodes and int(row[3], 16) & 0x10000:
            sockets.add(row[7])
    return sorted(ports), sorted(sockets)


def read(path):
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        return file.read()


class Probe:
    def __init__(self, secrets):
        self.secrets = secrets
        self.tried = 0
        self.found = []

    def attempt(self, what, action):
        """Notes `what` unless the action fails."""
        self.tried += 1
        try:
            got = action()
        except OSError:
            return b""
        if got is not False:
            self.found.append(what)
        return got

    def look_for_secrets(self, where, action):
        self.tried += 1
        try:
            text = action()
        except OSError:
            return
        if any(secret in text for secret in self.secrets):
            self.found.append("a secret in " + where)

    def files(self, paths):
        for path in paths:
            if os.path.islink(path):
                continue
            is_directory = path.endswith("/")
            self.attempt("reads " + path, lambda: (os.listdir if is_directory else read)(path) is not None)
            self.attempt("may write " + path, lambda: os.access(path, os.W_OK))

    def unix_sockets(self, paths):
        for path in paths:
            address = "\0" + path[1:] if path.startswith("@") else path
            with socket.socket(socket.AF_UNIX) as connection:
                self.attempt("connects to " + path, lambda: connection.connect(address))

    def ports(self, ports, recorded):
        web = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        plain = [("a call in plain text", grpc_call("ListStudies", "")), ("GET /metrics", web % b"/metrics"),
                 ("GET /", web % b"/"), ("GET with a wrong token", (web % b"/metrics")[:-2] +
                                         b"Authorization: Bearer " + b"0" * 64 + b"\r\n\r\n"),
                 ("a recorded call", recorded), ("noise", bytes(range(256)) * 16)]
        for port in ports:
            for name, request in plain:
                self.look_for_secrets(f"what port {port} answers to {name}", lambda: send_plain(port, request))
            for token in ("", "0" * 64):
                for method in ("ListStudies", "CreateBackup"):
                    self.look_for_secrets(f"what port {port} answers to {method} with token '{token}'",
                                          lambda: send_tls(port, grpc_call(method, token))[0])

    def processes(self, pids):
        for pid in pids:
            for name in ("environ", "maps", "mem", "auxv"):
                self.attempt(f"reads /proc/{pid}/{name}", lambda: os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY)))
            self.attempt(f"lists /proc/{pid}/fd", lambda: os.listdir(f"/proc/{pid}/fd"))
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for name in ("environ", "cmdline"):
                self.look_for_secrets(f"/proc/{pid}/{name}", lambda: read(f"/proc/{pid}/{name}"))


def become(user):
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def main():
    state, user, pids = sys.argv[1], sys.argv[2], sys.argv[3:]
    endpoint = json.load(open(state + "/endpoint.json"))
    paths = []
    for root in (state, os.path.dirname(endpoint["unix"])):
        for directory, _, files in os.walk(root):
            paths += [directory + "/"] + [os.path.join(directory, name) for name in files]
    ports, sockets = listening(pids)
    tokens = [open(f"{state}/tokens/{role}").read().strip() for role in ("admin", "worker", "viewer")]
    study = json.load(open(state + "/studies/1/study.json"))
    secrets = tokens + [study["name"], study["trainer"]["env"]["API_KEY"], "rung_trials"]
    port = int(endpoint["tcp"].rsplit(":", 1)[1])
    ports = sorted({*ports, port, int(endpoint["metrics"].rsplit(":", 1)[1])})
    sockets = sorted({*sockets, endpoint["unix"]})
    listed, _ = send_tls(port, grpc_call("ListStudies", tokens[0]), until=study["name"].encode())
    copied, recorded = send_tls(port, grpc_call("CreateBackup", tokens[0]), until=b"/backups/")
    if study["name"].encode() not in listed or b"/backups/" not in copied:
        print(f"a call with the token was not answered: {listed!r} {copied!r}", file=sys.stderr)
        return 1

    become(user)
    probe = Probe([secret.encode() for secret in secrets])
    probe.files(paths)
    probe.unix_sockets(sockets)
    probe.ports(ports, recorded)
    probe.processes(pids)
    print(json.dumps({"user": user, "outside": os.listdir(os.path.dirname(state)), "ports": ports, "sockets": sockets,
                      "tried": probe.tried, "found": probe.found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
