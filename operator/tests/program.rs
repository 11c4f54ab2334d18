//! The program itself, as a person calls it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::process::{Command, Output};

fn operator(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_operator")).args(arguments).output().unwrap()
}

#[test]
fn it_prints_the_definitions() {
    let output = operator(&["crd"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert_eq!(text.matches("kind: CustomResourceDefinition").count(), 3);
}

#[test]
fn a_missing_setting_is_named() {
    let output = operator(&["run", "--router-image", "r"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(text.contains("--server-image"), "{text}");
}
