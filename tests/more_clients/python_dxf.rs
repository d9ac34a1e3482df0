//! python-dxf, a Python library and command for named blobs.

use crate::harness::PASSWORD;
use crate::setup::secure;

#[test]
fn python_dxf_signs_in_pushes_lists_and_pulls() {
    let (registry, mut user) = secure();
    user.set("DXF_HOST", registry.address());
    user.set("DXF_TLSVERIFY", registry.certificate().display().to_string());
    let dxf = "python-dxf -m dxf";
    user.run("openssl rand 300000 > file");
    user.fails(&format!("{dxf} push-blob ann/files file @first"));
    user.set("DXF_USERNAME", "ann");
    user.set("DXF_PASSWORD", PASSWORD);

    let digest = user.run(&format!("{dxf} push-blob ann/files file @first"));
    user.fails(&format!("{dxf} push-blob bob/files file @first"));
    user.run(&format!("{dxf} mount-blob ann/more ann/files {digest} @mounted"));

    user.run(&format!("{dxf} pull-blob ann/files @first > back && cmp file back"));
    user.run(&format!("{dxf} pull-blob ann/more {digest} > mounted && cmp file mounted"));
    assert_eq!("first", user.run(&format!("{dxf} list-aliases ann/files")));
    assert_eq!("300000", user.run(&format!("{dxf} blob-size ann/files @first")));
    let repositories = user.run(&format!("{dxf} list-repos"));
    assert_eq!(repositories.lines().collect::<Vec<_>>(), ["ann/files", "ann/more"]);
    user.run(&format!("{dxf} del-alias ann/files first"));
    user.fails(&format!("{dxf} get-alias ann/files first"));
}
