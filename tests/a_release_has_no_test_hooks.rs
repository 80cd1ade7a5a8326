//! The points at which tests kill the process, and the clock that they move, are in no build but the tests' own: nothing
//! asks for their feature by default, a build without it has no code for them, and a release build with it is refused.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Compiles the crate of the points by itself.
fn compile(arguments: &[&str]) -> (Output, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("libhooks.s");
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let mut command = Command::new(compiler);
    command.args(["--edition=2024", "--crate-type=lib", "--crate-name=hooks", "--emit=asm", "-o"]);
    command.arg(&out).args(arguments).arg(root().join("crates/hooks/src/lib.rs"));
    let output = command.output().unwrap();
    (output, fs::read(out).unwrap_or_default())
}

#[test]
fn a_build_without_the_feature_has_no_code_for_them() {
    let (output, assembly) = compile(&["-Copt-level=3"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let assembly = String::from_utf8(assembly).unwrap();
    assert!(assembly.contains(".file"), "{assembly}");
    let code: Vec<&str> = assembly.lines().filter(|line| line.contains("@function")).collect();
    assert!(code.is_empty(), "{code:?}");
}

#[test]
fn a_release_build_with_the_feature_is_refused() {
    let (output, _) = compile(&["-Copt-level=3", "-Cdebug-assertions=off", "--cfg=feature=\"test-hooks\""]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(error.contains("a build without debug assertions cannot have it"), "{error}");
}

#[test]
fn nothing_asks_for_the_feature_by_default() {
    let mut asking = Vec::new();
    let crates = fs::read_dir(root().join("crates")).unwrap().flatten().map(|entry| entry.path());
    for folder in crates.chain([root()]) {
        let text = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let lines = text.lines().filter(|line| line.contains("test-hooks") && !line.starts_with('#'));
        asking.extend(lines.map(str::to_owned));
    }
    asking.sort();
    // The last two say what the feature is; the first keeps a program of tests from being built without it.
    let known = [
        "required-features = [\"test-hooks\"]",
        "test-hooks = [\"dep:nix\", \"dep:tokio\"]",
        "test-hooks = [\"hooks/test-hooks\"]",
    ];
    assert_eq!(asking, known);
}
