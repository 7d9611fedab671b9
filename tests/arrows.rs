//! Proves from `cargo metadata` which room depends on which, and which room holds which foreign library.
//!
//! Dependencies of every kind count (normal, build, dev, optional): a test that reaches across rooms is a path across rooms
//! too. The one exception is the root package, whose tests may use all rooms.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Each member of the workspace and the members it may depend on.
const ARROWS: [(&str, &[&str]); 6] = [
    ("egret", &["egret-codegen", "egret-fuzz", "egret-ir", "egret-passes"]),
    ("egret-codegen", &["egret-ir"]),
    ("egret-fuzz", &["egret-codegen", "egret-ir", "egret-passes"]),
    ("egret-ir", &[]),
    ("egret-passes", &["egret-ir"]),
    ("xtask", &[]),
];

/// Foreign libraries that belong to one room; a `*` at the end stands for any ending.
const HOMES: [(&str, &str); 9] = [
    ("cranelift*", "egret-codegen"),
    ("regalloc2", "egret-codegen"),
    ("iced-x86", "egret-codegen"),
    ("egg", "egret-passes"),
    ("prost", "egret-ir"),
    ("memmap2", "egret-ir"),
    ("z3", "egret-fuzz"),
    ("z3-sys", "egret-fuzz"),
    ("libfuzzer-sys", "egret-fuzz"),
];

/// One `[dependencies]` entry, of whatever kind.
struct Dependency {
    name: String,
    is_optional: bool,
    is_dev: bool,
}

/// The members of the workspace with their direct dependencies.
fn members() -> BTreeMap<String, Vec<Dependency>> {
    let cargo = std::env::var_os("CARGO").expect("cargo sets CARGO for the tests it runs");
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let text = |value: &Value| value.as_str().expect("a name is a string").to_owned();
    let dependency = |value: &Value| Dependency {
        name: text(&value["name"]),
        is_optional: value["optional"] == Value::Bool(true),
        is_dev: value["kind"] == "dev",
    };
    let list = |value: &Value| value.as_array().expect("cargo metadata gives lists").clone();
    let packages = list(&metadata["packages"]);
    packages.iter().map(|p| (text(&p["name"]), list(&p["dependencies"]).iter().map(dependency).collect())).collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

#[test]
fn every_member_has_its_place() {
    let expected: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let members = members();
    let found: BTreeSet<&str> = members.keys().map(String::as_str).collect();
    assert_eq!(found, expected, "a new member needs a line in ARROWS");
}

#[test]
fn rooms_depend_only_on_rooms_below() {
    let members = members();
    for (member, allowed) in ARROWS {
        for dependency in members.get(member).into_iter().flatten() {
            let is_room = members.contains_key(&dependency.name);
            assert!(
                !is_room || allowed.contains(&dependency.name.as_str()),
                "{member} must not depend on {}",
                dependency.name
            );
        }
    }
}

#[test]
fn the_facade_has_the_fuzzer_only_by_feature() {
    let members = members();
    for dependency in members["egret"].iter().filter(|d| d.name == "egret-fuzz") {
        assert!(dependency.is_optional || dependency.is_dev, "egret-fuzz must be optional in egret");
    }
}

#[test]
fn foreign_libraries_stay_in_their_rooms() {
    for (member, dependencies) in members() {
        for dependency in dependencies {
            for (pattern, home) in HOMES {
                let at_home = member == home;
                let name = &dependency.name;
                assert!(at_home || !matches(pattern, name), "{name} belongs to {home}, but {member} depends on it");
            }
        }
    }
}

#[test]
fn a_plain_build_needs_no_solver_and_no_fuzzing_engine() {
    for dependency in &members()["egret-fuzz"] {
        let is_heavy = ["z3", "z3-sys", "libfuzzer-sys"].contains(&dependency.name.as_str());
        assert!(!is_heavy || dependency.is_optional, "{} must be optional in egret-fuzz", dependency.name);
    }
}
