"""Signs in, pushes, lists and pulls with oras-py. Arguments: the registry, the password of ann, the certificate."""

import pathlib
import sys

import oras.client

registry, password, certificate = sys.argv[1:]
text = pathlib.Path("file.txt")
text.write_text("of oras-py")
name = f"{registry}/ann/files"


def refused(client, target):
    """Whether a push fails."""
    try:
        client.push(target=target, files=["file.txt"])
    except Exception:  # The library raises many kinds.
        return True
    return False


client = oras.client.OrasClient(hostname=registry, tls_verify=certificate, auth_backend="basic")
client.auth.set_basic_auth("ann", password)
for tag in ["2", "1"]:
    text.write_text(f"of oras-py, {tag}")
    client.push(target=f"{name}:{tag}", files=["file.txt"])
assert sorted(client.get_tags(name)) == ["1", "2"], client.get_tags(name)
assert refused(client, f"{registry}/bob/files:1"), "a push to the repository of bob"

(path,) = client.pull(target=f"{name}:1", outdir="back")
assert pathlib.Path(path).read_text() == "of oras-py, 1"
client.delete_tags(name, ["2"])
assert client.get_tags(name) == ["1"], client.get_tags(name)
