"""Signs in, pushes, pulls and searches with docker-py. Arguments: the registry and the password of ann."""

import sys

import docker

registry, password = sys.argv[1:]
client = docker.from_env()
app = f"{registry}/ann/app"
others = f"{registry}/bob/app"


def push(repository):
    """Returns the error of a push, or None."""
    lines = client.api.push(repository, tag="1", stream=True, decode=True)
    return next((line["error"] for line in list(lines) if "error" in line), None)


assert push(app) is not None, "a push without an account"
try:
    client.login("ann", "wrong", registry=registry)
    raise SystemExit("the wrong password was taken")
except docker.errors.APIError as error:
    assert "401" in str(error) or "unauthorized" in str(error), error

client.login("ann", password, registry=registry, reauth=True)
assert push(app) is None, push(app)
image = client.images.get(f"{app}:1")
assert image.tag(others, tag="1")
assert push(others) is not None, "a push to the repository of bob"

client.images.remove(f"{app}:1")
pulled = client.images.pull(app, tag="1")
assert pulled.id == image.id, (pulled.id, image.id)
assert client.images.get_registry_data(f"{app}:1").id in pulled.attrs["RepoDigests"][0]
