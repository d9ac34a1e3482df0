//! Jib, which builds Java programs into images, as its Maven plugin.

use crate::harness::PASSWORD;
use crate::setup::{push_image, secure, sign_in};

#[test]
fn jib_signs_in_pulls_its_base_and_pushes() {
    let (registry, mut user) = secure();
    sign_in(&registry, &user);
    push_image(&registry, &user, "ann/base:1");
    let project = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/more_clients/jib");
    user.run(&format!("cp -r {project} hello"));
    // Java has its own certificate store.
    user.run(&format!(
        "keytool -importcert -noprompt -alias registry -file {} -keystore trust.jks -storepass changeit",
        registry.certificate().display()
    ));
    user.set(
        "MAVEN_OPTS",
        format!(
            "-Djavax.net.ssl.trustStore={} -Djavax.net.ssl.trustStorePassword=changeit -Duser.home={}",
            user.path("trust.jks").display(),
            user.path("").display()
        ),
    );
    let build = |name: &str, password: &str| {
        format!(
            "cd hello && jib compile jib:build -Djib.disableUpdateChecks=true \
             -Djib.from.image={} -Djib.to.image={} -Djib.to.tags=2,latest \
             -Djib.from.auth.username=ann -Djib.from.auth.password='{password}' \
             -Djib.to.auth.username=ann -Djib.to.auth.password='{password}'",
            registry.at("ann/base:1"),
            registry.at(name)
        )
    };
    user.fails(&build("ann/hello:1", "wrong"));

    user.run(&build("ann/hello:1", PASSWORD));
    user.fails(&build("bob/hello:1", PASSWORD));

    assert_eq!("1\n2\nlatest", user.run(&format!("crane ls {}", registry.at("ann/hello"))));
    user.run(&format!("crane validate --remote {}", registry.at("ann/hello:1")));
    user.run(&format!(
        "crane export {} - | tar --list | grep --quiet app/classes/Hello.class",
        registry.at("ann/hello:latest")
    ));
}
