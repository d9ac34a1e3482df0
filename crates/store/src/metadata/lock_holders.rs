//! Names the processes that lock the database, for the log message of a failed write.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Lists other processes with a write lock on the database at `path`, such as `sqlite3 (pid 4711)`, from
/// `/proc/locks`.
pub(super) fn describe(path: &Path) -> String {
    let files = ["", "-shm"].into_iter().filter_map(|suffix| {
        let mut file = path.to_owned().into_os_string();
        file.push(suffix);
        fs::metadata(file).ok().map(|found| found.ino())
    });
    let inodes: Vec<u64> = files.collect();
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut holders: Vec<u32> = locks.lines().filter_map(|line| holder(line, &inodes)).collect();
    holders.sort_unstable();
    holders.dedup();
    holders.retain(|pid| *pid != std::process::id());
    if holders.is_empty() {
        return "another program, which /proc/locks does not show".to_owned();
    }
    let names = holders.into_iter().map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("{} (pid {pid})", if name.is_empty() { "a process" } else { name.trim() })
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Parses the process id of a line such as `1: POSIX ADVISORY WRITE 4711 08:01:1234 120 120`, if it locks one
/// of these files.
fn holder(line: &str, inodes: &[u64]) -> Option<u32> {
    let mut fields = line.split_whitespace().skip_while(|field| *field != "WRITE").skip(1);
    let pid = fields.next()?.parse().ok()?;
    let inode: u64 = fields.next()?.rsplit(':').next()?.parse().ok()?;
    inodes.contains(&inode).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::holder;

    #[test]
    fn lock_holder_is_read_from_proc_locks() {
        let line = "12: POSIX  ADVISORY  WRITE 4711 08:01:1234 120 120";
        assert_eq!(holder(line, &[1234]), Some(4711));
        assert_eq!(holder(line, &[1235]), None);
        assert_eq!(holder("12: -> POSIX  ADVISORY  WRITE 5 08:01:1234 0 EOF", &[1234]), Some(5));
        assert_eq!(holder("12: POSIX  ADVISORY  READ 4711 08:01:1234 120 120", &[1234]), None);
    }
}
