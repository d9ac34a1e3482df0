//! docker-py, the Python library for the Docker engine.

use crate::harness::{Engine, PASSWORD, Server};

#[test]
fn docker_py_signs_in_pushes_and_pulls() {
    let registry = Server::secure(&["ann", "bob"]);
    let engine = Engine::shared();
    let user = engine.terminal();
    engine.builds(&user, &registry.at("ann/app:1"), "of docker-py");
    std::fs::write(user.path("script.py"), include_str!("docker_py.py")).expect("a script can be written");

    user.run(&format!("docker-py script.py {} '{PASSWORD}'", registry.address()));
}
