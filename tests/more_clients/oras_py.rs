//! oras-py, the Python library for artifacts.

use crate::harness::PASSWORD;
use crate::setup::secure;

/// It asks for a token only after 403, so it signs in with Basic credentials.
#[test]
fn oras_py_signs_in_with_basic_credentials() {
    let (registry, user) = secure();
    std::fs::write(user.path("script.py"), include_str!("oras_py.py")).expect("a script can be written");

    user.run(&format!(
        "oras-py script.py {} '{PASSWORD}' {}",
        registry.address(),
        registry.certificate().display()
    ));
}
