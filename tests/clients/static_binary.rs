//! Lookups of users and hosts in a static binary, which must load no module of the name service.

use std::fs;

use crate::harness::Terminal;

/// Looks up an unknown user, its groups, and an unknown host.
const PROGRAM: &str = r#"
use std::net::ToSocketAddrs;

unsafe extern "C" {
    fn getpwuid(uid: u32) -> *const std::ffi::c_void;
    fn initgroups(user: *const std::ffi::c_char, group: u32) -> i32;
}

fn main() {
    if std::env::args().len() == 1 {
        name_service::set_up();
    }
    // SAFETY: one thread runs, and the text lives long enough.
    unsafe { getpwuid(54_321) };
    unsafe { initgroups(c"nobody".as_ptr(), 65_534) };
    ("name.invalid", 80).to_socket_addrs().unwrap_err();
    assert!(("localhost", 80).to_socket_addrs().is_ok_and(|mut found| found.next().is_some()));
}
"#;

/// A module `trap` for every database. It does not exist, so that the attempt is seen and nothing crashes.
const NSSWITCH: &str = "passwd: files trap\ngroup: files trap\nhosts: files trap dns\n";

#[test]
fn static_binary_loads_no_modules_of_the_name_service() {
    let mut user = Terminal::open();
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    for (name, usual) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        user.set(name, std::env::var(name).unwrap_or_else(|_| format!("{home}/{usual}")));
    }
    let source = env!("CARGO_MANIFEST_DIR");
    let module = format!("#[path = \"{source}/src/name_service.rs\"]\nmod name_service;\n");
    fs::write(user.path("main.rs"), module + PROGRAM).expect("a source file");
    fs::write(user.path("nsswitch.conf"), NSSWITCH).expect("a settings file");
    user.run("rustc --edition 2024 -C target-feature=+crt-static -o program main.rs");
    let lookups = |argument: &str| {
        user.run(&format!(
            "unshare --mount --net --propagation private sh -euc 'busybox ip link set lo up
             mount --bind nsswitch.conf /etc/nsswitch.conf
             strace -f -e trace=openat -o opened ./program {argument}' >&2
             grep -c libnss_trap opened || true"
        ))
    };
    assert_ne!(lookups("without"), "0", "a static binary loads modules by itself");
    assert_eq!(lookups(""), "0");
}
