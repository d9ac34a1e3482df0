"""A registry for the scripts that measure one."""

import http.client
import os
import re
import subprocess
import sys
import time


class Server:
    """A registry on a data directory. Its settings and its log are beside the directory."""

    def __init__(self, program, data, settings=""):
        config, self.log = f"{data}.toml", f"{data}.log"
        # Also without settings: no configuration of this machine applies.
        with open(config, "w") as file:
            file.write(settings)
        command = [program, "serve", "--listen", "127.0.0.1:0", "--data", data, "--config", config]
        begun = time.monotonic()
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        while True:
            found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", open(self.log).read())
            if found and self.is_ready(int(found[1])):
                break
            if self.process.poll() is not None:
                sys.exit(f"the registry did not start:\n{open(self.log).read()}")
            time.sleep(0.05)
        self.port, self.start = int(found[1]), time.monotonic() - begun

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def is_ready(self, port):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=3600)

    def io(self):
        """Bytes read from and written to disks."""
        text = open(f"/proc/{self.process.pid}/io").read()
        return [int(re.search(rf"^{name}: (\d+)", text, re.M)[1]) for name in ("read_bytes", "write_bytes")]

    def cpu(self):
        """Seconds of CPU."""
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def anonymous(self):
        """Anonymous memory in MiB."""
        return anonymous(self.process.pid)


def anonymous(pid):
    """Anonymous memory of a process in MiB."""
    return int(re.search(r"RssAnon:\s+(\d+)", open(f"/proc/{pid}/status").read())[1]) / 1024


def send(connection, method, path, body, kind):
    connection.request(method, path, body, {"Content-Type": kind})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        sys.exit(f"{method} {path}: {answer.status} {text.decode()}")
