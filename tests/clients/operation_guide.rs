//! The lines of docs/how-to/operation.md, backup.md and upgrade.md, in a minimal Debian 12 without systemd.

use crate::harness::{Page, Terminal, runs_in_debian};

/// Starts the command of the unit, as its user.
const SERVE: &str = "
serve() {
    setpriv --reuid wharfinger --regid wharfinger --init-groups \\
        $(sed -n 's/^ExecStart=//p' /etc/systemd/system/wharfinger.service) &
    server=$!
    ready
}
ready() {
    for _ in $(seq 600); do
        if wharfinger health; then return; fi
        kill -0 \"$server\"
        sleep 0.1
    done
    return 1
}
stop() { kill \"$server\" && wait \"$server\"; }
";

/// The lines of a page that need no systemd. Passwords, which the page has typed, come from standard input.
fn lines(page: Page) -> String {
    let needs_systemd = |line: &String| line.starts_with("systemctl") || line.starts_with("journalctl");
    let typed = |line: String| {
        let asks = line.contains("user add") || line.contains("user password");
        if asks { format!("echo 'correct horse battery staple' | {line} --password-stdin") } else { line }
    };
    let lines = page.commands().into_iter().filter(|line| !needs_systemd(line)).map(typed);
    lines.collect::<Vec<_>>().join("\n")
}

/// The lines that set these settings in a file of `config example`.
fn uncommented(settings: &str, file: &str) -> String {
    let edit = |line: &str| {
        let key = line.split(" =").next().unwrap_or_default();
        format!("sed -i '0,/^#{key} = .*/s,,{line},' {file}\ngrep -x '{line}' {file}\n")
    };
    settings.lines().map(edit).collect()
}

#[test]
fn guides_run_a_service_save_it_and_go_back() {
    let (operation, backup) = (Page::OPERATION, Page::BACKUP);
    let service = operation.below("A service of systemd");
    let settings = uncommented(service.block("toml"), "/etc/wharfinger/wharfinger.toml");
    let (before, unit) = lines(service)
        .split_once("\nsed ")
        .map(|(one, two)| (one.to_owned(), two.to_owned()))
        .expect("a unit");
    let service = format!("{before}\n{settings}sed {unit}");
    let go_back = Page::UPGRADE.below("Go back").commands();
    let [enter, remove, copy, serve] = &go_back[..] else { panic!("{go_back:?}") };
    let restore = lines(backup.below("Restore"));
    let (restore, check) = restore.split_once('\n').expect("two lines");
    let script = format!(
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n{SERVE}\ncd /source\n\
         {}\n{service}\nserve\n{}\n{}\nmkdir /backup\n{}\n\
         test -s /backup/registry/metadata.backup\nstop\n\
         if {restore}; then exit 1; fi\n{restore} --replace\n{check}\n\
         cp --archive /var/lib/wharfinger/wharfinger/metadata.db /var/lib/wharfinger/wharfinger/metadata.db.before-N\n\
         echo 'correct horse battery staple' | wharfinger user add bob --password-stdin --data /var/lib/wharfinger\n\
         {enter}\n{remove}\n{copy}\n{serve} & server=$!\nready\nkill -INT $(cat lock | tr -dc 0-9)\nwait $server\n\
         serve\nwharfinger user list >/users\ngrep ann /users\nif grep bob /users; then exit 1; fi\nstop\n\
         test -z \"$(find /var/lib/wharfinger ! -user wharfinger)\"\necho all done\n",
        lines(operation.below("Install")),
        lines(operation.below("Change settings")),
        lines(operation.below("A lost administrator password")),
        lines(backup.below("Back up")),
    );
    let user = Terminal::open();
    let (source, binary) = (env!("CARGO_MANIFEST_DIR"), env!("CARGO_BIN_EXE_wharfinger"));
    user.run("mkdir -p files/source/target/release");
    user.run(&format!("objcopy --strip-all {binary} files/source/target/release/wharfinger"));
    user.run(&format!("cp -r {source}/deploy files/source/"));
    runs_in_debian(&user, "files", &script);
}
